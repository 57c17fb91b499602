//! Bad input: each has its documented answer, and others never notice.
