//! The variables `OTEL_*`: what they say where the configuration says nothing.

use std::time::Duration;

use sparkway_gateway::settings::TracingSettings;

/// What the standard's variables say about the export.
#[derive(Clone, Debug)]
pub(super) struct Standard {
    /// Everything is off, whatever else is set.
    pub(super) disabled: bool,
    /// A variable names an endpoint; the exporter reads it itself.
    pub(super) names_endpoint: bool,
    /// A variable names the service; the SDK reads it itself.
    pub(super) names_service: bool,
    /// Spans that wait for their export.
    pub(super) queue: usize,
    /// Spans of one export.
    pub(super) batch: usize,
    /// How long a span waits for others.
    pub(super) delay: Duration,
    /// How long an export may take.
    pub(super) timeout: Duration,
    /// Share of publishes, where a sampler is named.
    ratio: Option<f64>,
}

impl Standard {
    /// Reads the variables through `get`. What cannot be read counts as not set, as the standard
    /// asks.
    pub(super) fn read(get: impl Fn(&str) -> Option<String>) -> Self {
        let number = |name: &str| get(name)?.trim().parse::<u64>().ok();
        let count = |name: &str, usual: usize| {
            let count = number(name).and_then(|count| usize::try_from(count).ok());
            count.filter(|&count| count > 0).unwrap_or(usual)
        };
        let millis = |name: &str, usual: u64| Duration::from_millis(number(name).unwrap_or(usual));
        let is_set = |name: &str| get(name).is_some_and(|value| !value.is_empty());
        let argument = || get("OTEL_TRACES_SAMPLER_ARG")?.trim().parse::<f64>().ok();
        let ratio = match get("OTEL_TRACES_SAMPLER").as_deref() {
            Some("always_on" | "parentbased_always_on") => Some(1.0),
            Some("always_off" | "parentbased_always_off") => Some(0.0),
            Some("traceidratio" | "parentbased_traceidratio") => Some(argument().unwrap_or(1.0)),
            _ => None,
        };
        Self {
            disabled: get("OTEL_SDK_DISABLED")
                .is_some_and(|value| value.eq_ignore_ascii_case("true")),
            names_endpoint: is_set("OTEL_EXPORTER_OTLP_ENDPOINT")
                || is_set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
            names_service: is_set("OTEL_SERVICE_NAME"),
            queue: count("OTEL_BSP_MAX_QUEUE_SIZE", 2048),
            batch: count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512),
            delay: millis("OTEL_BSP_SCHEDULE_DELAY", 5000),
            timeout: millis("OTEL_BSP_EXPORT_TIMEOUT", 30_000),
            ratio: ratio.filter(|ratio| (0.0..=1.0).contains(ratio)),
        }
    }

    /// Whether anything is exported at all.
    pub(super) fn is_on(&self, settings: &TracingSettings) -> bool {
        !self.disabled && (settings.otlp_endpoint.is_some() || self.names_endpoint)
    }

    /// The settings, with the standard's ratio where the configuration has the usual one.
    pub(super) fn adjust(&self, settings: &mut TracingSettings) {
        let usual = TracingSettings::default().sample_ratio;
        if let Some(ratio) = self.ratio
            && (settings.sample_ratio - usual).abs() < f64::EPSILON
        {
            settings.sample_ratio = ratio;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Standard {
        Standard::read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_is_exported_unless_an_endpoint_is_named_and_the_sdk_is_not_disabled() {
        let (mut here, nowhere) = (TracingSettings::default(), TracingSettings::default());
        here.otlp_endpoint = Some("http://localhost:4318".to_owned());
        assert!(!read(&[]).is_on(&nowhere));
        assert!(read(&[]).is_on(&here));
        assert!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318")]).is_on(&nowhere));
        assert!(!read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]).is_on(&nowhere));
        assert!(!read(&[("OTEL_SDK_DISABLED", "True")]).is_on(&here));
    }

    #[test]
    fn the_configuration_wins_over_the_standards_sampler() {
        let sampler = [
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
        ];
        let adjusted = |configured: f64| {
            let mut settings = TracingSettings {
                sample_ratio: configured,
                ..TracingSettings::default()
            };
            read(&sampler).adjust(&mut settings);
            settings.sample_ratio
        };
        assert!((adjusted(0.01) - 0.5).abs() < 1e-9);
        assert!((adjusted(0.2) - 0.2).abs() < 1e-9);
    }

    #[test]
    fn what_cannot_be_read_counts_as_not_set() {
        let odd = read(&[
            ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
            ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
        ]);
        assert_eq!((odd.queue, odd.delay), (2048, Duration::from_secs(5)));
        assert_eq!(read(&[("OTEL_BSP_MAX_QUEUE_SIZE", "0")]).queue, 2048);
        assert_eq!(read(&[("OTEL_BSP_MAX_QUEUE_SIZE", "10")]).queue, 10);
    }
}
