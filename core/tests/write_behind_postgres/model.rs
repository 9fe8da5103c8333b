//! Random upserts beside a model.

use super::*;

/// What the table should hold, by upserts in order.
type Model = BTreeMap<i32, BTreeMap<&'static str, i32>>;

#[test]
fn random_upserts_leave_what_one_at_a_time_would() {
    let kit = Kit::new("id int PRIMARY KEY, a int, b int, c int");
    let entry = (
        0..30i32,
        prop::collection::btree_map(
            prop::sample::select(vec!["a", "b", "c"]),
            any::<i32>(),
            0..4,
        ),
    );
    let steps = prop::collection::vec(
        prop_oneof![20 => entry.prop_map(Some), 1 => Just(None)],
        1..400,
    );
    let mut config = ProptestConfig::with_cases(24 * soak());
    config.failure_persistence = None;
    let shape = (1..100usize, 1..4usize, any::<bool>());
    proptest!(config, |(steps in steps, (batch, writers, cut) in shape)| {
        kit.run("DELETE FROM {t}");
        let sut = kit.open(WriteBehindOptions {
            batch_size: Some(batch),
            writers: Some(writers),
            on_repeat: Some(if cut {
                queue_runtime_core::write_behind::OnRepeat::Cut
            } else {
                queue_runtime_core::write_behind::OnRepeat::Last
            }),
            ..kit.options("id")
        }).unwrap();
        let mut model = Model::new();
        for step in steps {
            let Some((id, members)) = step else {
                kit.flush(&sut);
                continue;
            };
            let mut entry: HashMap<&str, i32> = members.iter().map(|(k, v)| (*k, *v)).collect();
            entry.insert("id", id);
            kit.enqueue(&sut, json!(entry));
            model.entry(id).or_default().extend(members);
        }
        let report = kit.wait(sut.close(HOUR));
        prop_assert!(report.unwritten.is_empty() && report.rejected.is_empty());
        let rows = format!("SELECT id, a, b, c FROM {}", kit.table);
        let rows = kit.wait(kit.sql.query(&rows, &[])).unwrap();
        let found: Model = rows.iter().map(|row| {
            let members = ["a", "b", "c"].into_iter().enumerate();
            let members = members.filter_map(|(n, name)| Some((name, row.get::<_, Option<i32>>(n + 1)?)));
            (row.get(0), members.collect())
        }).collect();
        prop_assert_eq!(found, model);
    });
}
