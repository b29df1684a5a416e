use job::StateName;

use super::{World, name};

/// All jobs of batch `b` by pages of `limit`.
async fn paged(world: &World, states: &[StateName], limit: usize) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = world.queue.results(&name("b"), after, states, limit).await.unwrap();
        let ids = page.jobs.iter().map(|known| {
            let spec = known.spec.as_ref().unwrap();
            spec.custom_id.as_ref().unwrap().to_string()
        });
        found.extend(ids);
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

#[tokio::test]
async fn a_batch_is_read_wholly_in_its_order_whatever_the_pages_and_also_where_jobs_share_a_place() {
    let world = World::new().await;
    world.enqueue("b", 7).await;
    let names: Vec<String> = (0..7).map(|n| format!("b-{n}")).collect();
    for limit in 1..=8 {
        assert_eq!(paged(&world, &[], limit).await, names, "by {limit}");
        assert!(paged(&world, &[StateName::Failed], limit).await.is_empty());
    }
    let mut connection = world.redis.connection().await.unwrap();
    let members = world.queue.keys().members(Some(&name("b")));
    let ids: Vec<String> =
        redis::cmd("ZRANGE").arg(&members).arg(0).arg(-1).query_async(&mut connection).await.unwrap();
    for id in &ids[1..6] {
        let () = redis::cmd("ZADD").arg(&members).arg(4).arg(id).query_async(&mut connection).await.unwrap();
    }
    for limit in 1..=8 {
        let mut found = paged(&world, &[], limit).await;
        found.sort();
        assert_eq!(found, names, "by {limit}");
    }
}
