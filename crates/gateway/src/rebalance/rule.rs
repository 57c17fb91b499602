//! When a node has too many connections, and how many leave. Pure: counts in, a number out.
//!
//! Two-sided: shedding only above the mean would stop as soon as the old nodes are a little above
//! it, with a new one still nearly empty. So everybody above the mean sheds for as long as anybody
//! is too far from it on either side.

use crate::settings::RebalanceSettings;

/// How likely an attempt is accepted, with a balancer that picks at random.
const ACCEPTED: f64 = 0.4;
/// Share of newcomers that is refused at the most: what is known of the others is seconds old, and
/// while a crowd arrives every node may take itself for the fullest.
const MOST_REFUSED: f64 = 0.8;

/// Connections of each node that serves, this one among them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loads<'a> {
    pub(crate) own: u64,
    pub(crate) others: &'a [u64],
}

/// Whether a node is above the mean while the nodes are uneven: it sheds, and native newcomers are
/// sent on. `active`: it was so before; evening out goes on until half of the threshold is left,
/// so that it does not stop and begin for ever.
pub(crate) fn is_over(loads: Loads<'_>, settings: &RebalanceSettings, active: bool) -> bool {
    let Some(mean) = mean(loads, settings) else {
        return false;
    };
    let threshold = if active {
        settings.threshold / 2.0
    } else {
        settings.threshold
    };
    let own = loads.own as f64;
    let all = loads.others.iter().map(|&count| count as f64).chain([own]);
    let uneven = all
        .into_iter()
        .any(|count| (count - mean).abs() > threshold * mean);
    uneven && own > mean
}

/// How many connections a node that is over sends away in so many seconds, at the most down to
/// the mean.
pub(crate) fn quota(loads: Loads<'_>, settings: &RebalanceSettings, seconds: f64) -> f64 {
    let own = loads.own as f64;
    let above = mean(loads, settings).map_or(0.0, |mean| (own - mean).max(0.0));
    (settings.rate * own * seconds).min(above)
}

/// Share of the native newcomers that a node above the mean sends on: so many that the nodes below
/// it get most of them, and that each attempt of a client succeeds with [`ACCEPTED`] at the least.
/// A client that has to resume within the window must not be turned away again and again.
pub(crate) fn refused_share(loads: Loads<'_>, settings: &RebalanceSettings) -> f64 {
    let Some(mean) = mean(loads, settings) else {
        return 0.0;
    };
    let nodes = (loads.others.len() + 1) as f64;
    let below = loads.others.iter().filter(|&&count| (count as f64) < mean);
    let share_below = below.count() as f64 / nodes;
    let needed = (ACCEPTED - share_below).max(0.0);
    (1.0 - needed / (1.0 - share_below)).min(MOST_REFUSED)
}

/// `None` when there is nothing to be evened out.
fn mean(loads: Loads<'_>, settings: &RebalanceSettings) -> Option<f64> {
    let nodes = loads.others.len() + 1;
    let sum = loads.own + loads.others.iter().sum::<u64>();
    let mean = sum as f64 / nodes as f64;
    let enough = nodes > 1 && mean >= settings.min_connections as f64;
    enough.then_some(mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_are_even_enough_or_nearly_empty_leave_everybody_alone() {
        let settings = RebalanceSettings::default();
        let over = |own, others: &[u64]| is_over(Loads { own, others }, &settings, false);
        assert!(!over(1050, &[1000, 960]), "within the threshold");
        assert!(!over(900, &[10]), "below the least mean");
        assert!(!over(100_000, &[]), "alone");
        assert!(over(1300, &[1000, 1000]), "above on one side");
        assert!(
            over(1040, &[1040, 800]),
            "somebody is below on the other side"
        );
        assert!(!over(800, &[1040, 1040]), "not the one who is below");
        assert!(
            is_over(
                Loads {
                    own: 1070,
                    others: &[1000, 930]
                },
                &settings,
                true
            ),
            "goes on"
        );
        assert!(!is_over(
            Loads {
                own: 1070,
                others: &[1000, 930]
            },
            &settings,
            false
        ));
    }

    #[test]
    fn whoever_comes_back_is_accepted_soon_however_few_nodes_are_below_the_mean() {
        let settings = RebalanceSettings::default();
        for full in 1..=50 {
            let mut others = vec![1000; full - 1];
            others.push(0);
            let loads = Loads {
                own: 1000,
                others: &others,
            };
            let refused = refused_share(loads, &settings);
            let accepted = 1.0 - refused * full as f64 / (full + 1) as f64;
            assert!(refused > 0.5, "{refused} of {full} nodes");
            assert!(accepted >= 0.399, "{accepted} of {full} nodes");
        }
        let nearly_empty = Loads {
            own: 9,
            others: &[1],
        };
        assert!(refused_share(nearly_empty, &settings) == 0.0);
    }

    #[test]
    fn never_more_leave_than_what_is_above_the_mean() {
        let settings = RebalanceSettings::default();
        let quota = |own, others: &[u64], seconds| quota(Loads { own, others }, &settings, seconds);
        assert!((quota(10_000, &[0], 1.0) - 20.0).abs() < 1e-9);
        assert!((quota(1004, &[1000], 10.0) - 2.0).abs() < 1e-9);
        assert!(quota(900, &[1100], 1.0).abs() < 1e-9);
    }
}
