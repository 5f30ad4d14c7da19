//! A report as Prometheus reads it (text exposition format 0.0.4).

use std::fmt::Write;

use super::report::{DestinationReport, Report};

/// The report's numbers.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    pages(&mut out, report);
    spool(&mut out, report);
    devices(&mut out, report);
    let flag = |is_so: bool| u64::from(is_so);
    let memory = &report.memory;
    for (name, value) in [
        ("takes_pages", flag(report.takes_pages)),
        ("stuck_parts", report.stuck.len() as u64),
        ("clock_synced", flag(report.clock_synced)),
        ("uptime_seconds", report.uptime_s),
        ("resident_bytes", memory.resident_bytes),
        ("resident_bytes_peak", memory.peak_bytes),
    ] {
        family(&mut out, name, "gauge", &[(String::new(), value)]);
    }
    out
}

fn pages(out: &mut String, report: &Report) {
    let counts = &report.counts;
    let pages = [
        ("accepted", counts.accepted),
        ("duplicate", counts.duplicates),
        ("refused", counts.refused),
        ("capture_failed", counts.captures_failed),
        ("digitized", counts.digitized),
        ("rejected", counts.rejected),
        ("died", counts.died),
    ];
    let pages = pages.map(|(name, count)| (label("outcome", name), count));
    family(out, "pages_total", "counter", &pages);
}

fn spool(out: &mut String, report: &Report) {
    let spool = &report.spool;
    let jobs = [
        ("to_digitize", spool.to_digitize),
        ("to_deliver", spool.to_deliver),
        ("parked", spool.parked),
        ("held", spool.held),
    ];
    let jobs = jobs.map(|(name, count)| (label("state", name), count as u64));
    family(out, "jobs", "gauge", &jobs);
    let one = |value| [(String::new(), value)];
    family(out, "spool_bytes", "gauge", &one(spool.bytes));
    let quarantined = spool.quarantined_files as u64;
    family(out, "quarantined_files", "gauge", &one(quarantined));
}

fn devices(out: &mut String, report: &Report) {
    let mut each = |name: &str, kind: &str, value: &dyn Fn(&DestinationReport) -> u64| {
        let lines = report.destinations.iter();
        let lines: Vec<_> = lines.map(|to| (label("to", &to.name), value(to))).collect();
        family(out, name, kind, &lines);
    };
    each("delivered_total", "counter", &|to| to.delivered);
    each("deliveries_failed_total", "counter", &|to| to.failed);
    each("destination_degraded", "gauge", &|to| {
        u64::from(to.degraded)
    });
    let sources = report.sources.iter();
    let sources: Vec<_> = sources
        .map(|source| (label("source", &source.name), u64::from(source.works)))
        .collect();
    family(out, "source_works", "gauge", &sources);
}

fn family(out: &mut String, name: &str, kind: &str, values: &[(String, u64)]) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# TYPE leadscan_{name} {kind}");
    for (label, value) in values {
        let _ = writeln!(out, "leadscan_{name}{label} {value}");
    }
}

/// `{key="value"}`, with what the format wants escaped.
fn label(key: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    format!("{{{key}=\"{}\"}}", value.replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_names_and_labels() {
        let destination = DestinationReport {
            name: "a \"b\"".to_owned(),
            degraded: true,
            delivered: 7,
            ..DestinationReport::default()
        };
        let mut report = Report {
            destinations: vec![destination],
            ..Report::default()
        };
        report.counts.accepted = 3;
        let text = text(&report);
        for line in [
            "# TYPE leadscan_pages_total counter",
            "leadscan_pages_total{outcome=\"accepted\"} 3",
            "leadscan_delivered_total{to=\"a \\\"b\\\"\"} 7",
            "leadscan_destination_degraded{to=\"a \\\"b\\\"\"} 1",
            "leadscan_spool_bytes 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
