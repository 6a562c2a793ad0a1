//! Settings, logs, traces, metrics, health and drain, the same for every role.
