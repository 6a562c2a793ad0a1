"""Real processes, real Redis, SIPp as foreign phones: what the live tests stand on."""
