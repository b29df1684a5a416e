//! dashscope-sim
