//! Between generated messages and our words.
