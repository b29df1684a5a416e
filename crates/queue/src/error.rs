//! What can go wrong between us and Redis.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::record::UnreadableRecord;

/// A call to Redis failed.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Redis cannot be reached, or is not ready: the same call may succeed later.
    #[error("Redis cannot be reached")]
    Unreachable(#[source] RedisError),
    /// Redis refuses to write: it is out of memory, read-only, or lacks replicas. The same call may succeed later.
    #[error("Redis refuses to write")]
    Refused(#[source] RedisError),
    /// Redis answered what no version of us expects, or refuses the command: trying again will not help.
    #[error("Redis gave an unexpected answer")]
    Unexpected(#[source] RedisError),
    /// Redis's answer has not the shape of the script's contract.
    #[error("Redis's answer to `{call}` is not as expected: {problem}")]
    Reply {
        /// The script or command.
        call: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A record that this version cannot read.
    #[error(transparent)]
    Record(#[from] UnreadableRecord),
}

impl QueueError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Refused(_) => true,
            Self::Unexpected(_) | Self::Reply { .. } | Self::Record(_) => false,
        }
    }
}

impl From<RedisError> for QueueError {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::Io
            | ErrorKind::Server(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::MasterDown
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown,
            ) => Self::Unreachable(error),
            ErrorKind::Server(ServerErrorKind::ReadOnly) => Self::Refused(error),
            _ if error.is_connection_dropped() || error.is_timeout() || error.is_connection_refusal() => {
                Self::Unreachable(error)
            }
            _ if matches!(error.code(), Some("OOM" | "NOREPLICAS" | "MISCONF" | "BUSY")) => {
                Self::Refused(error)
            }
            _ => Self::Unexpected(error),
        }
    }
}

/// Redis could not be used at all.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is not one of Redis's.
    #[error("the Redis URL is not valid")]
    Url(#[source] RedisError),
    /// The CA file cannot be read.
    #[error("the CA file {path} cannot be read")]
    CaFile {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No connection, or it was refused.
    #[error("Redis at {address} cannot be reached")]
    Unreachable {
        /// Host and port, without the password.
        address: String,
        /// Why.
        source: RedisError,
    },
    /// A Redis Cluster: its failover can lose acknowledged writes, and nothing here has been tried on it.
    #[error("Redis at {address} is a cluster; Imagemill needs a single Redis (with or without a replica)")]
    Cluster {
        /// Host and port.
        address: String,
    },
}

/// A Redis that could lose jobs.
#[derive(Debug, thiserror::Error)]
pub enum UnsafeRedis {
    /// It could not be asked.
    #[error("Redis's settings could not be read")]
    Unknown(#[source] QueueError),
    /// Under memory pressure it would throw jobs away.
    #[error("`maxmemory-policy` is `{policy}`: under memory pressure Redis would throw jobs away")]
    Evicts {
        /// The policy that is set.
        policy: String,
    },
    /// It has just been started: what it keeps is not known until it has read its data.
    #[error("Redis is still loading its data")]
    Loading,
    /// A restart would lose everything since the last snapshot.
    #[error("the append-only file is off: a restart of Redis would lose jobs, and what they cost")]
    NoAof,
}

impl UnsafeRedis {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "allow the user `INFO` and `CONFIG GET`, or pass --unsafe-redis",
            Self::Evicts { .. } => {
                "set `maxmemory-policy noeviction`, or pass --unsafe-redis to go on all the same"
            }
            Self::Loading => "try again in a moment",
            Self::NoAof => {
                "set `appendonly yes` and `appendfsync always`, or pass --unsafe-redis to go on all the same"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_retryable(answer: &str) -> bool {
        use ServerErrorKind::{
            BusyLoading, ClusterDown, MasterDown, NoPerm, ReadOnly, ResponseError, TryAgain,
        };
        let known = match answer {
            "LOADING" => BusyLoading,
            "READONLY" => ReadOnly,
            "MASTERDOWN" => MasterDown,
            "TRYAGAIN" => TryAgain,
            "CLUSTERDOWN" => ClusterDown,
            "NOPERM" => NoPerm,
            "ERR" => ResponseError,
            code => {
                return QueueError::from(redis::make_extension_error(code.to_owned(), None)).is_retryable();
            }
        };
        QueueError::from(RedisError::from((ErrorKind::Server(known), "it says so"))).is_retryable()
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_will_not_is_not() {
        let pass = [
            "LOADING",
            "READONLY",
            "MASTERDOWN",
            "TRYAGAIN",
            "CLUSTERDOWN",
            "OOM",
            "NOREPLICAS",
            "MISCONF",
            "BUSY",
        ];
        for answer in pass {
            assert!(is_retryable(answer), "{answer}");
        }
        for answer in ["NOPERM", "ERR", "WRONGTYPE"] {
            assert!(!is_retryable(answer), "{answer}");
        }
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert!(QueueError::from(RedisError::from(refused)).is_retryable());
    }
}
