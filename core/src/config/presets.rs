//! Ready configurations for common cases. Each field may still be set otherwise.

use super::{ClientConfig, QueueOptions, RuntimeConfig};

impl RuntimeConfig {
    /// For servers that do little else: a thread for each processor, and room for much blocking
    /// work.
    pub fn high_throughput() -> Self {
        Self {
            worker_threads: std::thread::available_parallelism().map(usize::from).ok(),
            max_blocking_threads: Some(512),
            thread_stack_size: Some(2 << 20),
            ..Self::default()
        }
    }

    /// For small machines: few threads, small stacks, little memory kept.
    pub fn low_resource() -> Self {
        Self {
            worker_threads: Some(2),
            max_blocking_threads: Some(16),
            thread_stack_size: Some(1 << 20),
            body_pool_bytes: Some(4 << 20),
            ..Self::default()
        }
    }

    /// For tests: one thread, so that what runs at once is as steady as it can be.
    pub fn testing() -> Self {
        Self {
            worker_threads: Some(1),
            max_blocking_threads: Some(4),
            ..Self::low_resource()
        }
    }
}

impl ClientConfig {
    /// `memory:` for load: queues of 10,000 messages, so that senders wait before the backlog
    /// costs much memory. Goes with [`RuntimeConfig::high_throughput`].
    pub fn high_throughput_memory() -> Self {
        Self::memory_of(10_000)
    }

    /// `memory:` for tests: queues of 1,000 messages. Goes with [`RuntimeConfig::testing`].
    pub fn testing_memory() -> Self {
        Self::memory_of(1_000)
    }

    fn memory_of(max_messages: u64) -> Self {
        Self::new("memory:").queue(QueueOptions {
            max_messages: Some(max_messages),
            ..QueueOptions::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::env::Environment;

    #[test]
    fn presets_are_valid() {
        let presets = [
            RuntimeConfig::high_throughput(),
            RuntimeConfig::low_resource(),
            RuntimeConfig::testing(),
        ];
        for preset in presets {
            preset.check().unwrap();
            preset.build().unwrap();
        }
        for preset in [
            ClientConfig::high_throughput_memory(),
            ClientConfig::testing_memory(),
        ] {
            preset.over(Environment::default()).unwrap();
        }
    }
}
