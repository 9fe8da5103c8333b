//! Dead letters: SQS's own, ours, and the way back.

use queue_runtime_core::explain::BudgetFrom;
use queue_runtime_core::{
    Capability, DeadLetterFilter, ErrorKind, Message, QueueOptions, ReceiveOptions, RedriveOptions,
    Retry,
};

use crate::kit::{Kit, all, boto3, localstack, ministack, seconds};

/// Makes a queue as others do, with a dead-letter queue after so many receives.
fn foreign_queue(name: &str, receives: u32) {
    let script = format!(
        r#"
dead = sqs.create_queue(QueueName='{name}-graves')['QueueUrl']
arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=['QueueArn'])['Attributes']['QueueArn']
policy = {{'deadLetterTargetArn': arn, 'maxReceiveCount': '{receives}'}}
sqs.create_queue(QueueName='{name}', Attributes={{'RedrivePolicy': json.dumps(policy)}})
"#
    );
    boto3(localstack(), &script);
}

#[test]
fn what_sqs_moves_itself_has_crashed() {
    foreign_queue("moved", 2);
    let kit = Kit::new(&localstack().endpoint(), "");
    let options = QueueOptions {
        lock: Some(seconds(1)),
        ..QueueOptions::default()
    };
    let queue = kit.client.queue_with("moved", options).unwrap();
    let sent = kit
        .run(queue.send(Message::new("a").header("kind", "job")))
        .unwrap();
    assert_eq!(kit.receive(&queue, 1).len(), 1);
    assert_eq!(kit.receive(&queue, 1)[0].attempt(), 2);
    assert!(kit.receive(&queue, 1).is_empty());
    let letters = kit
        .run(queue.dead_letters(DeadLetterFilter::all(), None, 10))
        .unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (&letters[0].id, &*letters[0].reason, &*letters[0].source),
        (&sent.id, "crashed", "moved")
    );
    assert_eq!(&*letters[0].message.properties().headers["kind"], "job");
}

#[test]
fn the_redrive_policy_is_explained() {
    foreign_queue("explained", 3);
    let kit = Kit::new(&localstack().endpoint(), "");
    let options = QueueOptions {
        retry: Some("exponential:100ms,20,24h,jitter".parse().unwrap()),
        ..QueueOptions::default()
    };
    let open = |name| kit.client.queue_with(name, options.clone());
    let refused = open("explained").unwrap_err();
    assert_eq!(
        refused.field(),
        Some("retry"),
        "SQS keeps nothing away for so long"
    );

    let options = QueueOptions {
        retry: Some("exponential:100ms,20,12h,jitter".parse().unwrap()),
        ..QueueOptions::default()
    };
    let open = |name| kit.client.queue_with(name, options.clone()).unwrap();
    let said = kit.run(open("explained").explain()).unwrap();
    assert_eq!(
        (said.budget, said.budget_from),
        (Some(3), BudgetFrom::Provider)
    );
    assert_eq!(said.max_receives, Some(3));
    assert_eq!(said.dead_letters.as_deref(), Some("explained-graves"));
    let most: Vec<_> = said.waits.iter().map(|wait| wait.most).collect();
    assert_eq!(most, [seconds(1), seconds(2)]);
    let text = said.to_string();
    assert!(
        text.contains("3 attempts at a message, as the provider gives up then"),
        "{text}"
    );
    assert!(
        text.contains("after attempt 3: never, it is a dead letter in explained-graves"),
        "{text}"
    );

    // Without a redrive policy there is no end.
    boto3(localstack(), "sqs.create_queue(QueueName='endless')");
    let said = kit.run(open("endless").explain()).unwrap();
    assert_eq!(
        (said.budget, said.dead_letters.clone(), said.waits.len()),
        (None, None, 100)
    );
    assert_eq!(said.waits[99].most, seconds(12 * 60 * 60));
    assert!(
        said.to_string()
            .contains("comes back until it is acknowledged"),
        "{said}"
    );

    let error = kit
        .run(open("endless").explain_message(&"m".into()))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.capability(), Some(Capability::Peek));
}

#[test]
fn the_lesser_limit_is_the_budget() {
    foreign_queue("lesser", 2);
    let kit = Kit::new(&localstack().endpoint(), "");
    let queue = kit.open("lesser");
    kit.run(queue.send("a")).unwrap();
    for _ in 0..2 {
        let delivery = kit.receive(&queue, 1).remove(0);
        kit.run(delivery.nack(Some("no milk"))).unwrap();
    }
    let letters = kit
        .run(queue.dead_letters(DeadLetterFilter::all(), None, 10))
        .unwrap();
    assert_eq!(
        (&*letters[0].reason, letters[0].attempts),
        ("max_attempts", 2)
    );
    // A budget that was asked for and cannot be had is refused.
    let options = QueueOptions {
        budget: Some(3),
        ..QueueOptions::default()
    };
    let asked = kit.client.queue_with("lesser", options).unwrap();
    let error = kit.run(asked.send("b")).unwrap_err();
    assert_eq!(
        (error.kind(), error.field()),
        (ErrorKind::InvalidConfig, Some("budget"))
    );
}

#[test]
fn a_dead_letter_queue_by_configuration() {
    boto3(
        ministack(),
        "sqs.create_queue(QueueName='bare'); sqs.create_queue(QueueName='graves')",
    );
    let without = Kit::new(&ministack().endpoint(), "");
    let queue = without.open("bare");
    without.run(queue.send("a")).unwrap();
    let delivery = without.receive(&queue, 1).remove(0);
    let error = without.run(delivery.dead_letter("bad", None)).unwrap_err();
    assert_eq!(error.field(), Some("dead_letter_queue"));
    // The delivery is as it was.
    without.run(delivery.release(None)).unwrap();

    let with = Kit::new(&ministack().endpoint(), "&dead_letter_queue=graves");
    let queue = with.open("bare");
    let delivery = with.receive(&queue, 1).remove(0);
    with.run(delivery.dead_letter("bad", Some("no such table")))
        .unwrap();
    let statistics = with.run(queue.statistics()).unwrap();
    assert_eq!((statistics.depth(), statistics.dead), (0, 1));
    // By its URL it is the same queue.
    let by_url = with.open(&format!("{}/000000000000/bare", ministack().endpoint()));
    let letters = with.run(by_url.dead_letters(DeadLetterFilter::all(), None, 10));
    assert_eq!(&*letters.unwrap()[0].source, "bare");
    assert_eq!(
        with.run(queue.purge_dead_letters(DeadLetterFilter::all()))
            .unwrap(),
        1
    );
    assert_eq!(with.run(queue.statistics()).unwrap().dead, 0);
}

#[test]
fn a_message_that_outlived_its_budget_is_not_handed_over() {
    let kit = Kit::new(&ministack().endpoint(), "");
    let options = QueueOptions {
        lock: Some(seconds(1)),
        budget: Some(2),
        retry: Some(Retry::None),
        ..QueueOptions::default()
    };
    let queue = kit.client.queue_with("outlived", options).unwrap();
    kit.run(queue.create()).unwrap();
    kit.run(queue.send("a")).unwrap();
    // Two processes die with it.
    assert_eq!(kit.receive(&queue, 1).len(), 1);
    assert_eq!(kit.receive(&queue, 1).len(), 1);
    assert!(kit.receive(&queue, 1).is_empty());
    let letters = kit
        .run(queue.dead_letters(DeadLetterFilter::all(), None, 10))
        .unwrap();
    assert_eq!((&*letters[0].reason, letters[0].attempts), ("crashed", 2));
}

#[test]
fn dead_letters_are_listed_in_pages_and_sent_back_by_choice() {
    for options in ["", "&fifo=true"] {
        let kit = Kit::new(&ministack().endpoint(), options);
        let queue = kit.queue(&format!("pages{}", options.len()));
        let with_session = |message: Message| match options {
            "" => message,
            _ => message.session("s"),
        };
        all(kit.run(queue.send_many((0..25).map(|n| with_session(Message::new(n.to_string()))))));
        let mut buried = 0;
        while buried < 25 {
            for delivery in kit.receive(&queue, 25 - buried) {
                let odd = crate::kit::body(&delivery).parse::<u32>().unwrap() % 2 == 1;
                kit.run(delivery.dead_letter(if odd { "odd" } else { "even" }, None))
                    .unwrap();
                buried += 1;
            }
        }
        let mut after = None;
        let mut pages = Vec::new();
        loop {
            let page = kit
                .run(queue.dead_letters(DeadLetterFilter::all(), after, 10))
                .unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.number);
            pages.push(page.len());
        }
        assert_eq!(pages, [10, 10, 5], "{options}");
        let odd = RedriveOptions {
            filter: DeadLetterFilter::reason("odd"),
            ..RedriveOptions::default()
        };
        let report = kit.run(queue.redrive(odd)).unwrap();
        assert_eq!((report.matched, report.redriven), (12, 12), "{options}");
        assert_eq!(kit.run(queue.statistics()).unwrap().dead, 13);
        let back = kit.receive(&queue, 1).remove(0);
        assert_eq!(back.header("qrt-redrive-count"), Some("1"));
        assert_eq!(
            back.session(),
            if options.is_empty() { None } else { Some("s") }
        );
        assert_eq!(back.attempt(), 1);
    }
}

#[test]
fn sqs_itself_moves_dead_letters_back() {
    let kit = Kit::new(&localstack().endpoint(), "&redrive=native");
    let queue = kit.queue("native");
    kit.run(queue.send("a")).unwrap();
    let delivery = kit.receive(&queue, 1).remove(0);
    kit.run(delivery.dead_letter("bad", None)).unwrap();
    // Messages that SQS did not move itself it takes back to their queue only if told to.
    let report = kit.run(queue.redrive(RedriveOptions::default())).unwrap();
    assert_eq!(report.redriven, 1);
    let options = ReceiveOptions::new().wait(seconds(4));
    assert_eq!(kit.run(queue.receive(&options)).unwrap().len(), 1);
    let filtered = RedriveOptions {
        filter: DeadLetterFilter::reason("bad"),
        ..RedriveOptions::default()
    };
    kit.run(kit.open("native").send("b")).unwrap();
    let delivery = kit.receive(&queue, 1).remove(0);
    kit.run(delivery.dead_letter("bad", None)).unwrap();
    assert_eq!(
        kit.run(queue.redrive(filtered)).unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
}
