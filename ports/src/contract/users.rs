//! Cases of [`UserRepository`](crate::UserRepository).
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use pocket_domain::{PageRequest, Role, TenantId, User, UserId, Username};

use super::fixture::{a_user, hash, logged, names, new_tenant_id, new_user_id, page, tenant, user};
use super::race::both;
use crate::{AccessChange, Conflict, Storage, StorageError, UserUpdate};

const TAKEN: StorageError = StorageError::Conflict(Conflict::Username);
const LAST: StorageError = StorageError::Conflict(Conflict::LastAdmin);

fn renamed(name: &str) -> UserUpdate {
    UserUpdate { username: Some(Username::parse(name).unwrap()), role: None }
}

fn with_role(role: Role) -> UserUpdate {
    UserUpdate { username: None, role: Some(role) }
}

async fn role_of(storage: &Storage, tenant: TenantId, id: UserId) -> Option<Role> {
    storage.users.get(tenant, id).await.unwrap().map(|user: User| user.role)
}

pub async fn a_new_user_is_found_by_id_and_by_name(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    for role in Role::ALL {
        let mut ada = a_user(acme, &format!("ada-{role}"), role);
        ada.credential_version = u32::MAX - 1;
        storage.users.create(&ada, &hash("ada")).await.unwrap();
        assert_eq!(storage.users.get(acme, ada.id).await, Ok(Some(ada.clone())));
        assert_eq!(storage.users.find_by_name(acme, &ada.username).await, Ok(Some((ada, hash("ada")))));
    }
}

pub async fn an_unknown_user_is_absent(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let nobody = new_user_id();
    assert_eq!(storage.users.get(acme, nobody).await, Ok(None));
    assert_eq!(storage.users.find_by_name(acme, &Username::parse("ada").unwrap()).await, Ok(None));
    assert_eq!(storage.users.update(acme, nobody, renamed("ada")).await, Err(StorageError::NotFound));
    assert_eq!(storage.users.set_password(acme, nobody, &hash("x")).await, Err(StorageError::NotFound));
    assert_eq!(storage.users.delete(acme, nobody).await, Ok(false));
}

pub async fn a_taken_username_is_a_conflict_in_its_tenant_only(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    user(storage, acme, "ada", Role::Admin).await;
    assert_eq!(storage.users.create(&a_user(acme, "ada", Role::Viewer), &hash("x")).await, Err(TAKEN));
    assert_eq!(storage.users.create(&a_user(other, "ada", Role::Viewer), &hash("x")).await, Ok(()));
}

pub async fn a_user_of_an_unknown_tenant_is_not_found(storage: &Storage) {
    let ada = a_user(new_tenant_id(), "ada", Role::Admin);
    assert_eq!(storage.users.create(&ada, &hash("x")).await, Err(StorageError::NotFound));
    assert_eq!(storage.users.any().await, Ok(false));
}

pub async fn users_of_another_tenant_are_out_of_reach(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    let ada = a_user(acme, "ada", Role::Viewer);
    storage.users.create(&ada, &hash("ada")).await.unwrap();
    for stranger in [other, new_tenant_id()] {
        assert_eq!(storage.users.get(stranger, ada.id).await, Ok(None));
        assert_eq!(storage.users.find_by_name(stranger, &ada.username).await, Ok(None));
        let page = storage.users.list(stranger, PageRequest::default()).await.unwrap();
        assert_eq!((page.items, page.total), (vec![], 0));
        assert_eq!(storage.users.update(stranger, ada.id, renamed("eve")).await, Err(StorageError::NotFound));
        assert_eq!(storage.users.set_password(stranger, ada.id, &hash("eve")).await, Err(StorageError::NotFound));
        assert_eq!(storage.users.delete(stranger, ada.id).await, Ok(false));
    }
    assert_eq!(storage.users.find_by_name(acme, &ada.username).await, Ok(Some((ada, hash("ada")))));
}

pub async fn users_are_listed_by_id_and_all_of_the_tenant_are_counted(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    for name in ["cid", "ada", "bob"] {
        user(storage, acme, name, Role::Viewer).await;
        user(storage, other, name, Role::Viewer).await;
    }
    for (request, expected) in [
        (PageRequest::default(), vec!["cid", "ada", "bob"]),
        (page(2, 1), vec!["ada", "bob"]),
        (page(2, 3), vec![]),
        (page(2, PageRequest::MAX_OFFSET), vec![]),
    ] {
        let found = storage.users.list(acme, request).await.unwrap();
        assert_eq!(names(&found, |user| user.username.as_str()), expected);
        assert_eq!(found.total, 3);
    }
}

pub async fn an_update_changes_what_it_names_and_nothing_else(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let mut expected = a_user(acme, "ada", Role::Viewer);
    let other = a_user(acme, "bob", Role::Viewer);
    storage.users.create(&expected, &hash("ada")).await.unwrap();
    storage.users.create(&other, &hash("bob")).await.unwrap();
    expected.username = Username::parse("ada.l").unwrap();
    assert_eq!(storage.users.update(acme, expected.id, renamed("ada.l")).await, Ok(expected.clone()));
    expected.role = Role::Operator;
    assert_eq!(storage.users.update(acme, expected.id, with_role(Role::Operator)).await, Ok(expected.clone()));
    assert_eq!(storage.users.update(acme, expected.id, UserUpdate::default()).await, Ok(expected.clone()));
    let found = storage.users.find_by_name(acme, &expected.username).await;
    assert_eq!(found, Ok(Some((expected, hash("ada")))));
    assert_eq!(storage.users.find_by_name(acme, &other.username).await, Ok(Some((other, hash("bob")))));
}

pub async fn a_new_name_that_another_user_has_is_a_conflict(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    let ada = user(storage, acme, "ada", Role::Viewer).await;
    user(storage, acme, "bob", Role::Viewer).await;
    user(storage, other, "cid", Role::Viewer).await;
    assert_eq!(storage.users.update(acme, ada, renamed("bob")).await, Err(TAKEN));
    assert!(storage.users.update(acme, ada, renamed("ada")).await.is_ok(), "the own name is not taken");
    assert!(storage.users.update(acme, ada, renamed("cid")).await.is_ok(), "another tenant's name is not taken");
}

pub async fn the_last_administrator_of_a_tenant_stays_one(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    let ada = user(storage, acme, "ada", Role::Admin).await;
    user(storage, acme, "bob", Role::Operator).await;
    user(storage, other, "root", Role::PlatformAdmin).await;
    assert_eq!(storage.users.update(acme, ada, with_role(Role::Operator)).await, Err(LAST));
    assert_eq!(storage.users.delete(acme, ada).await, Err(LAST));
    assert_eq!(role_of(storage, acme, ada).await, Some(Role::Admin));
    assert!(storage.users.update(acme, ada, renamed("ada.l")).await.is_ok());
    assert!(storage.users.update(acme, ada, with_role(Role::PlatformAdmin)).await.is_ok());
}

pub async fn the_last_platform_administrator_stays_one(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    let root = user(storage, acme, "root", Role::PlatformAdmin).await;
    user(storage, acme, "ada", Role::Admin).await;
    user(storage, other, "bob", Role::Admin).await;
    assert_eq!(storage.users.update(acme, root, with_role(Role::Admin)).await, Err(LAST));
    assert_eq!(storage.users.delete(acme, root).await, Err(LAST));
    assert_eq!(role_of(storage, acme, root).await, Some(Role::PlatformAdmin));
    user(storage, other, "root", Role::PlatformAdmin).await;
    assert_eq!(storage.users.delete(acme, root).await, Ok(true));
}

pub async fn an_administrator_beside_another_may_go(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let root = user(storage, acme, "root", Role::PlatformAdmin).await;
    let ada = user(storage, acme, "ada", Role::Admin).await;
    let bob = user(storage, acme, "bob", Role::Admin).await;
    assert!(storage.users.update(acme, ada, with_role(Role::Viewer)).await.is_ok());
    assert_eq!(storage.users.delete(acme, bob).await, Ok(true));
    assert_eq!(storage.users.delete(acme, ada).await, Ok(true));
    assert_eq!(storage.users.delete(acme, root).await, Err(LAST));
}

pub async fn a_tenant_without_administrators_may_lose_users(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let ada = user(storage, acme, "ada", Role::Operator).await;
    assert!(storage.users.update(acme, ada, with_role(Role::Viewer)).await.is_ok());
    assert_eq!(storage.users.delete(acme, ada).await, Ok(true));
}

pub async fn of_two_demotions_at_once_one_succeeds(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let ada = user(storage, acme, "ada", Role::Admin).await;
    let bob = user(storage, acme, "bob", Role::Admin).await;
    let results = both(
        storage.users.update(acme, ada, with_role(Role::Viewer)),
        storage.users.update(acme, bob, with_role(Role::Viewer)),
    )
    .await;
    assert!(matches!(results, (Ok(_), Err(LAST)) | (Err(LAST), Ok(_))), "{results:?}");
}

pub async fn of_two_deletions_at_once_one_succeeds(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let ada = user(storage, acme, "ada", Role::Admin).await;
    let bob = user(storage, acme, "bob", Role::Admin).await;
    let results = both(storage.users.delete(acme, ada), storage.users.delete(acme, bob)).await;
    assert!(matches!(results, (Ok(true), Err(LAST)) | (Err(LAST), Ok(true))), "{results:?}");
}

pub async fn of_two_platform_administrators_in_two_tenants_one_stays(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    for id in [acme, other] {
        user(storage, id, "admin", Role::Admin).await;
    }
    let ada = user(storage, acme, "ada", Role::PlatformAdmin).await;
    let bob = user(storage, other, "bob", Role::PlatformAdmin).await;
    let results = both(storage.users.update(acme, ada, with_role(Role::Admin)), storage.users.delete(other, bob)).await;
    assert!(matches!(results, (Ok(_), Err(LAST)) | (Err(LAST), Ok(_))), "{results:?}");
}

pub async fn a_new_password_replaces_the_hash_and_is_counted(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let mut ada = a_user(acme, "ada", Role::Viewer);
    storage.users.create(&ada, &hash("old")).await.unwrap();
    ada.credential_version += 1;
    assert_eq!(storage.users.set_password(acme, ada.id, &hash("new")).await, Ok(ada.clone()));
    assert_eq!(storage.users.find_by_name(acme, &ada.username).await, Ok(Some((ada, hash("new")))));
}

pub async fn a_deleted_user_is_gone_and_the_name_is_free(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let ada = user(storage, acme, "ada", Role::Viewer).await;
    assert_eq!(storage.users.delete(acme, ada).await, Ok(true));
    assert_eq!(storage.users.delete(acme, ada).await, Ok(false));
    assert_eq!(storage.users.get(acme, ada).await, Ok(None));
    user(storage, acme, "ada", Role::Viewer).await;
}

pub async fn another_role_a_new_password_and_a_deletion_are_logged(storage: &Storage) {
    let tenant_id = tenant(storage, "acme").await;
    user(storage, tenant_id, "root", Role::Admin).await;
    let user_id = user(storage, tenant_id, "ada", Role::Viewer).await;
    let changes = async || logged(storage).await.len();
    assert_eq!(changes().await, 0);
    storage.users.update(tenant_id, user_id, with_role(Role::Operator)).await.unwrap();
    assert_eq!(changes().await, 1);
    storage.users.set_password(tenant_id, user_id, &hash("new")).await.unwrap();
    assert_eq!(changes().await, 2);
    storage.users.delete(tenant_id, user_id).await.unwrap();
    assert_eq!(logged(storage).await, [AccessChange::User { tenant_id, user_id }; 3]);
}

pub async fn what_ends_no_access_of_a_user_is_not_logged(storage: &Storage) {
    let (acme, other) = (tenant(storage, "acme").await, tenant(storage, "other").await);
    let ada = user(storage, acme, "ada", Role::Admin).await;
    storage.users.update(acme, ada, renamed("ada.l")).await.unwrap();
    storage.users.update(acme, ada, with_role(Role::Admin)).await.unwrap();
    assert_eq!(storage.users.update(acme, ada, with_role(Role::Viewer)).await, Err(LAST));
    assert_eq!(storage.users.delete(acme, ada).await, Err(LAST));
    assert_eq!(storage.users.delete(other, ada).await, Ok(false));
    assert!(storage.users.set_password(other, ada, &hash("x")).await.is_err());
    assert_eq!(logged(storage).await, []);
}

pub async fn any_tells_whether_there_is_a_user(storage: &Storage) {
    assert_eq!(storage.users.any().await, Ok(false));
    let acme = tenant(storage, "acme").await;
    assert_eq!(storage.users.any().await, Ok(false));
    user(storage, acme, "ada", Role::Viewer).await;
    assert_eq!(storage.users.any().await, Ok(true));
}
