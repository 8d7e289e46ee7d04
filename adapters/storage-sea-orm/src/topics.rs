//! Topics have a key in their tenant, so that a row of telemetry holds a number.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use pocket_domain::{TenantId, TopicFilter, TopicName};
use pocket_ports::TopicNames;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, SimpleExpr};
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, NotSet, QueryFilter, QueryOrder, QuerySelect};
use sea_orm::{Select, Set};

use crate::database::Database;
use crate::entity::{corrupt, topic};
use crate::error::Error;
use crate::tenants;

/// Topics in one statement.
const STEP: usize = 500;
/// Names that are looked at together when a filter is resolved.
const PAGE: u64 = 10_000;

fn of_tenant(tenant: i64) -> Select<topic::Entity> {
    topic::Entity::find().filter(topic::Column::Tenant.eq(tenant))
}

/// The keys of the topics; those that have none get one.
pub(crate) async fn intern(
    transaction: &impl ConnectionTrait,
    topics: impl Iterator<Item = &(i64, TopicName)>,
) -> Result<HashMap<(i64, TopicName), i64>, Error> {
    // In order, so that two processes that add the same topics wait for each other and never both ways.
    let mut wanted: BTreeMap<i64, BTreeSet<&TopicName>> = BTreeMap::new();
    for (tenant, topic) in topics {
        wanted.entry(*tenant).or_default().insert(topic);
    }
    let mut keys = HashMap::new();
    for (tenant, names) in wanted {
        let names: Vec<&TopicName> = names.into_iter().collect();
        for names in names.chunks(STEP) {
            find(transaction, tenant, names, &mut keys).await?;
            let missing: Vec<&TopicName> =
                names.iter().copied().filter(|name| !keys.contains_key(&(tenant, (*name).clone()))).collect();
            if !missing.is_empty() {
                insert(transaction, tenant, &missing).await?;
                find(transaction, tenant, &missing, &mut keys).await?;
            }
        }
    }
    Ok(keys)
}

async fn find(
    transaction: &impl ConnectionTrait,
    tenant: i64,
    names: &[&TopicName],
    keys: &mut HashMap<(i64, TopicName), i64>,
) -> Result<(), Error> {
    let named = topic::Column::Name.is_in(names.iter().map(|name| name.as_str()));
    for row in of_tenant(tenant).filter(named).all(transaction).await? {
        keys.insert((tenant, TopicName::parse(&row.name).map_err(corrupt)?), row.key);
    }
    Ok(())
}

async fn insert(transaction: &impl ConnectionTrait, tenant: i64, names: &[&TopicName]) -> Result<(), Error> {
    let rows = names.iter().map(|name| topic::ActiveModel {
        key: NotSet,
        tenant: Set(tenant),
        name: Set((*name).to_string()),
    });
    let taken = OnConflict::columns([topic::Column::Tenant, topic::Column::Name]).do_nothing().to_owned();
    topic::Entity::insert_many(rows).on_conflict(taken).exec_without_returning(transaction).await?;
    Ok(())
}

/// Names of a tenant's topics behind a key, by their keys.
pub(crate) async fn page(db: &Database, tenant: TenantId, after: u64, limit: u32) -> Result<TopicNames, Error> {
    let Some(tenant) = tenants::key(db.reader(), tenant).await? else { return Ok(TopicNames::default()) };
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let behind = of_tenant(tenant).filter(topic::Column::Key.gt(after));
    let rows = behind.order_by_asc(topic::Column::Key).limit(u64::from(limit)).all(db.reader()).await?;
    let is_full = rows.len() >= limit as usize;
    let next = rows.last().filter(|_| is_full).map(|row| row.key.unsigned_abs());
    // A name that cannot be read is nobody's to use.
    Ok(TopicNames { names: rows.iter().filter_map(|row| TopicName::parse(&row.name).ok()).collect(), next })
}

/// The keys of the tenant's topics that the filter matches, in no order.
pub(crate) async fn matching(
    connection: &impl ConnectionTrait,
    tenant: i64,
    filter: &TopicFilter,
) -> Result<Vec<i64>, Error> {
    if !filter.has_wildcards() {
        let found = of_tenant(tenant).filter(topic::Column::Name.eq(filter.as_str())).one(connection).await?;
        return Ok(found.into_iter().map(|row| row.key).collect());
    }
    let form = Form::of(filter, connection.get_database_backend());
    let prefix = filter.literal_prefix();
    let mut range = of_tenant(tenant).filter(topic::Column::Name.gte(prefix));
    if let Some(end) = after_all_with(prefix) {
        range = range.filter(topic::Column::Name.lt(end));
    }
    if let Some(condition) = form.condition {
        range = range.filter(condition);
    }
    if form.is_exact {
        // The index alone tells the keys; the names stay where they are.
        let keys = range.select_only().column(topic::Column::Key);
        return Ok(keys.into_tuple().all(connection).await?);
    }
    let range = range.order_by_asc(topic::Column::Name).limit(PAGE);
    let (mut keys, mut page) = (Vec::new(), range.clone().all(connection).await?);
    loop {
        keys.extend(page.iter().filter(|row| filter.matches(&row.name)).map(|row| row.key));
        match page.last() {
            Some(last) if page.len() as u64 == PAGE => {
                page = range.clone().filter(topic::Column::Name.gt(last.name.as_str())).all(connection).await?;
            }
            _ => return Ok(keys),
        }
    }
}

/// Whether the tenant has topics that begin with `$`, which `#` does not match.
pub(crate) async fn has_system_topics(connection: &impl ConnectionTrait, tenant: i64) -> Result<bool, Error> {
    let named = topic::Column::Name.gte("$").and(topic::Column::Name.lt("%"));
    Ok(of_tenant(tenant).filter(named).one(connection).await?.is_some())
}

/// What a filter with wildcards says of names, beside their prefix, in the SQL of a database.
struct Form {
    condition: Option<SimpleExpr>,
    /// Whether prefix and condition leave exactly the names that the filter matches.
    is_exact: bool,
}

impl Form {
    fn of(filter: &TopicFilter, backend: DbBackend) -> Self {
        let text = filter.as_str();
        let (levels, takes_more) = match text.strip_suffix("/#") {
            Some(levels) => (levels, true),
            None => (text, text == "#"),
        };
        if !levels.contains('+') {
            // `a/#` has the prefix `a`, which other names begin with too. A range of names below it is all that is meant.
            let below = format!("{levels}/");
            let is_meant = topic::Column::Name.eq(levels).or(topic::Column::Name
                .gte(below.as_str())
                .and(after_all_with(&below).map_or_else(|| Expr::value(true), |end| topic::Column::Name.lt(end))));
            return match text {
                "#" => Self { condition: None, is_exact: false },
                _ => Self { condition: Some(is_meant), is_exact: true },
            };
        }
        let mut form = String::new();
        for c in levels.chars() {
            match (c, backend) {
                ('+', DbBackend::Sqlite) => form.push('*'),
                ('+', _) => form.push('%'),
                ('*' | '?' | '[', DbBackend::Sqlite) => form.extend(['[', c, ']']),
                ('%' | '_' | '\\', DbBackend::Postgres) => form.extend(['\\', c]),
                _ => form.push(c),
            }
        }
        let has_form = |form: String| match backend {
            DbBackend::Sqlite => Expr::cust_with_values("name GLOB ?", [form]),
            _ => Expr::cust_with_values("name LIKE $1", [form]),
        };
        if takes_more {
            let more = if backend == DbBackend::Sqlite { "*" } else { "%" };
            let below = has_form(format!("{form}/{more}"));
            return Self { condition: Some(has_form(form).or(below)), is_exact: false };
        }
        // A wildcard of the database also takes slashes, of which there are as many as in the filter.
        let slashes = levels.matches('/').count();
        let as_many = Expr::cust(format!("length(name) - length(replace(name, '/', '')) = {slashes}"));
        let mut condition = has_form(form).and(as_many);
        if levels.starts_with('+') {
            // [MQTT-4.7.2-1] a wildcard at the beginning does not match a name that begins with `$`.
            condition = condition.and(topic::Column::Name.lt("$").or(topic::Column::Name.gte("%")));
        }
        Self { condition: Some(condition), is_exact: true }
    }
}

/// The first text in the order of code points that is after every text with this prefix; `None` when there is none.
fn after_all_with(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        // The range passes over the surrogates, which are no characters.
        if let Some(next) = (last..=char::MAX).nth(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::after_all_with;

    #[test]
    fn a_prefix_is_a_range_of_texts() {
        assert_eq!(after_all_with("a/").as_deref(), Some("a0"));
        assert_eq!(after_all_with("\u{d7ff}").as_deref(), Some("\u{e000}"));
        assert_eq!(after_all_with("a\u{10ffff}\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(after_all_with("\u{10ffff}"), None);
        assert_eq!(after_all_with(""), None);
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod matching_tests {
    use pocket_domain::{NewTelemetry, TopicFilter, TopicName};

    #[tokio::test]
    async fn a_filter_finds_the_names_that_it_matches_and_no_others() {
        let sample = crate::sample::Sample::new().await;
        let levels = ["a", "b", "a*", "[b]", "?", "%", "_", "", "A", "a.", "é"];
        let mut names: Vec<String> = levels.iter().filter(|level| !level.is_empty()).map(ToString::to_string).collect();
        for one in levels {
            for two in levels {
                names.push(format!("{one}/{two}"));
                names.extend(levels.iter().map(|three| format!("{one}/{two}/{three}")));
            }
        }
        let message =
            |name: &String| NewTelemetry { topic: TopicName::parse(name).unwrap(), ..sample.message(sample.device, 1) };
        sample.storage.telemetry.append(names.iter().map(message).collect()).await.unwrap();
        let wanted = ["a", "+", "a*", "[b]", "%", "", "é"];
        let mut filters: Vec<String> = vec!["#".into(), "+".into(), "a/#".into(), "A/#".into(), "/#".into()];
        for one in wanted {
            for two in wanted {
                filters.extend([format!("{one}/{two}"), format!("{one}/{two}/#"), format!("{one}/{two}/+")]);
            }
        }
        for filter in filters {
            let filter = TopicFilter::parse(&filter).unwrap();
            let keys = super::matching(sample.database.reader(), 1, &filter).await.unwrap();
            let expected = names.iter().filter(|name| filter.matches(name)).count();
            assert_eq!(keys.len(), expected, "{filter}");
        }
    }
}
