//! dashscope
