//! Topic filters of which a client has dropped the end: it takes a `#` that is not written as `%23` for the beginning of a fragment
//! (RFC 3986, 3.5), so that `topic=home/#` arrives as `home/`.

use pocket_domain::{TenantId, TopicFilter};

use crate::code::Code;
use crate::extract::{App, User};
use crate::problem::Problem;

/// Refuses a filter that looks as if its `#` was dropped: it ends with `/`, and nothing is stored at a topic of that name.
pub(crate) async fn refuse(
    app: &App,
    user: &User,
    tenant: Option<TenantId>,
    topic: Option<&TopicFilter>,
) -> Result<(), Problem> {
    let Some(topic) = topic.filter(|topic| topic.as_str().ends_with('/')) else { return Ok(()) };
    if topic.has_wildcards() || app.telemetry.has_messages_at(user, tenant, topic).await? {
        return Ok(());
    }
    let text = topic.as_str();
    let message = format!(
        "nothing is stored at the topic {text:?}; if {text}# was meant, write the # as %23, since a client takes it for the end of \
         the address"
    );
    Err(Problem::field(Code::Invalid, "topic", message))
}
