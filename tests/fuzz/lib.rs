//! Throws mutated input at everything that reads bytes of strangers. See README.md here for what
//! this is and what it is not.

#[cfg(test)]
mod mutate;
#[cfg(test)]
mod run;
#[cfg(test)]
mod targets;
