//! A simulated network and clock, and scripted phones, for tests only.
