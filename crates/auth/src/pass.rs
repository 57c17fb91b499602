//! What a session keeps of the credential that it was opened with.

use crate::{Grants, Mark, PatternError};

/// Grants, and what decides whether the credential behind them was revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// The topics.
    pub grants: Grants,
    /// Which token it was.
    pub mark: Mark,
}

impl Pass {
    /// Of a client without a token, or one that a backend let in.
    #[must_use]
    pub fn unmarked(grants: Grants) -> Self {
        Self {
            grants,
            mark: Mark::default(),
        }
    }

    /// The text kept in the session's record: the lines of the [`Grants`], a line with the time
    /// of issue and one with the token's id, each empty where there is none.
    #[must_use]
    pub fn to_record(&self) -> String {
        let mut out = self.grants.to_record();
        let Mark {
            token_id,
            issued_at_s,
        } = &self.mark;
        if token_id.is_some() || issued_at_s.is_some() {
            let issued = issued_at_s.map(|at| at.to_string()).unwrap_or_default();
            out.push('\n');
            out.push_str(&issued);
            out.push('\n');
            out.push_str(token_id.as_deref().unwrap_or_default());
        }
        out
    }

    /// Reads what [`Self::to_record`] wrote.
    ///
    /// # Errors
    /// As [`Grants::from_record`]: the caller treats the session as one that may do nothing.
    pub fn from_record(record: &str) -> Result<Self, PatternError> {
        let mut lines = record.splitn(4, '\n');
        let subscribe = lines.next().unwrap_or_default();
        let publish = lines.next().ok_or(PatternError::NoTopicName)?;
        let issued = lines.next().unwrap_or_default();
        let token_id = lines.next().filter(|id| !id.is_empty());
        Ok(Self {
            grants: Grants::from_record(&format!("{subscribe}\n{publish}"))?,
            mark: Mark {
                token_id: token_id.map(Box::from),
                issued_at_s: issued.parse().ok(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_round_trips_and_reads_records_without_a_mark() {
        let grants = Grants::new(&["room:*"], &["lobby"]).unwrap();
        for mark in [
            Mark::default(),
            Mark {
                token_id: Some("a b:1".into()),
                issued_at_s: Some(7),
            },
            Mark {
                token_id: None,
                issued_at_s: Some(0),
            },
            Mark {
                token_id: Some("x".into()),
                issued_at_s: None,
            },
        ] {
            let pass = Pass {
                grants: grants.clone(),
                mark,
            };
            assert_eq!(Pass::from_record(&pass.to_record()), Ok(pass));
        }
        let old = Pass::from_record(&grants.to_record()).unwrap();
        assert_eq!(old, Pass::unmarked(grants));
        assert!(Pass::from_record("").is_err());
    }
}
