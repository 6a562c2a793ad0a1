//! The media role: relay workers, ports, latching, statistics, and its gRPC service.
