//! One noisy process among others.

use super::*;

#[test]
fn a_noisy_process_leaves_room_for_others() {
    let endpoint = Endpoint::start(|_| None::<&'static str>);
    block_on(async {
        let pipeline = start(&settings(&endpoint.address, |settings| {
            settings.queue_bytes = 100_000;
            settings.queue_spans = usize::MAX;
        }));
        let noisy = process("noisy");
        for _ in 0..10_000 {
            pipeline.push(&noisy, span(1, 1, 0, 0));
        }
        let held = |name: &str| {
            let snapshot = pipeline.counters().snapshot();
            let of = |counter| snapshot.of(counter).find(|(of, _)| *of == name).map_or(0, |(_, count)| count);
            of(Counter::Pushed) - of(Counter::QueueBytes)
        };
        let alone = held("noisy");
        let quiet: Vec<_> = (0..3).map(|number| process(&format!("quiet-{number}"))).collect();
        for _ in 0..10_000 {
            pipeline.push(&noisy, span(1, 1, 0, 0));
            for quiet in &quiet {
                pipeline.push(quiet, span(1, 1, 0, 0));
            }
        }
        // Half of all; of the other half, the first half; and so on: all find room.
        let shares: Vec<_> = (0..3).map(|number| held(&format!("quiet-{number}"))).collect();
        assert_eq!(held("noisy"), alone, "nothing was sent, so nothing more fits");
        assert!(shares.iter().all(|share| share * 5 >= alone / 2), "{alone} and {shares:?}");
        let all = alone + shares.iter().sum::<u64>();
        assert!(alone * 2 >= all, "{alone} of {all}");
    });
}

#[test]
fn processes_of_one_service_share_its_room() {
    let endpoint = Endpoint::start(|_| None::<&'static str>);
    let bytes = |settings: &mut Settings| settings.queue_bytes = 10_000;
    let spans = |settings: &mut Settings| settings.queue_spans = 30;
    for (bound, cause) in
        [(&bytes as &dyn Fn(&mut Settings), Counter::QueueBytes), (&spans, Counter::QueueFull)]
    {
        let held_by = |processes: usize| {
            block_on(async {
                let pipeline = start(&settings(&endpoint.address, |settings| {
                    settings.batch_spans = 10;
                    bound(settings);
                }));
                let replicas: Vec<_> = (0..processes).map(|_| process("shop")).collect();
                for number in 0..1_000 {
                    pipeline.push(&replicas[number % processes], span(1, 1, 0, 0));
                }
                let total = totals(pipeline.counters());
                assert!(total(cause) > 0, "{cause:?}");
                total(Counter::Pushed) - total(cause)
            })
        };
        assert_eq!(held_by(1), held_by(7), "{cause:?}");
    }
}

#[test]
fn turns_go_round_among_processes() {
    let (sender, order) = std::sync::mpsc::channel();
    let endpoint = Endpoint::start(move |request| {
        sender.send(request).unwrap();
        thread::sleep(Duration::from_millis(20));
        Some("200 OK")
    });
    block_on(async {
        let pipeline = start(&settings(&endpoint.address, |settings| {
            settings.batch_spans = 10;
            settings.schedule_delay = Duration::from_millis(50);
        }));
        let (noisy, quiet) = (process("noisy"), process("quiet"));
        // A hundred batches of the one, and then a span of the other.
        for _ in 0..1_000 {
            pipeline.push(&noisy, span(1, 1, 0, 0));
        }
        pipeline.push(&quiet, span(1, 1, 0, 0));
        let pushed = Instant::now();
        let exported = |name: &str| {
            let snapshot = pipeline.counters().snapshot();
            snapshot.of(Counter::Exported).find(|(of, _)| *of == name).map_or(0, |(_, count)| count)
        };
        while exported("quiet") == 0 {
            assert!(pushed.elapsed() < Duration::from_secs(10));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(exported("noisy") < 500, "{} of 1000 went before", exported("noisy"));
        assert_eq!(pipeline.flush(Duration::from_secs(20)).await, 0);
        assert_eq!(exported("noisy"), 1_000);
    });
    assert_eq!(order.try_iter().count(), 101);
}

#[test]
fn a_few_requests_are_under_way_at_once_and_no_more() {
    let endpoint = Endpoint::start(|_| None::<&'static str>);
    block_on(async {
        let pipeline = start(&settings(&endpoint.address, |settings| settings.batch_spans = 1));
        let processes: Vec<_> = (0..20).map(|number| process(&format!("service-{number}"))).collect();
        for process in &processes {
            pipeline.push(process, span(1, 1, 0, 0));
        }
        let requests = || endpoint.requests.load(Ordering::SeqCst);
        let pushed = Instant::now();
        while requests() < 8 {
            assert!(pushed.elapsed() < Duration::from_secs(5), "{}", requests());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(requests(), 8);
    });
}
