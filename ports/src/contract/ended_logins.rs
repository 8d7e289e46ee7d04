//! Cases of [`UserRepository`](crate::UserRepository) about log-ins that are ended.
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use pocket_domain::{LoginId, Role, TenantId, User, UserId};

use super::fixture::{a_user, at, hash, logged, new_tenant_id, new_user_id, tenant};
use crate::{AccessChange, ENDED_LOGIN_MARGIN, MAX_ENDED_LOGINS, Storage, StorageError, UserStanding};

/// A log-in that no other number gives.
fn login(number: usize) -> LoginId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&(number as u64).to_be_bytes());
    LoginId::new(at(0), random)
}

async fn ada(storage: &Storage) -> User {
    let acme = tenant(storage, "acme").await;
    let ada = a_user(acme, "ada", Role::Viewer);
    storage.users.create(&ada, &hash("ada")).await.unwrap();
    ada
}

async fn ended(storage: &Storage, tenant: TenantId, id: UserId, second: u64) -> Vec<LoginId> {
    let standing = storage.users.standing(tenant, id, at(second)).await.unwrap().unwrap();
    let mut ended = standing.ended;
    ended.sort();
    ended
}

pub async fn an_ended_login_is_remembered_until_its_tokens_are_over(storage: &Storage) {
    let ada = ada(storage).await;
    let (tenant_id, user_id) = (ada.tenant_id, ada.id);
    let standing = storage.users.standing(tenant_id, user_id, at(0)).await;
    assert_eq!(standing, Ok(Some(UserStanding { user: ada.clone(), ended: vec![] })));
    storage.users.end_login(tenant_id, user_id, login(1), at(10), at(0)).await.unwrap();
    storage.users.end_login(tenant_id, user_id, login(2), at(20), at(0)).await.unwrap();
    storage.users.end_login(tenant_id, user_id, login(2), at(20), at(0)).await.unwrap();
    assert_eq!(ended(storage, tenant_id, user_id, 9).await, [login(1), login(2)]);
    assert_eq!(ended(storage, tenant_id, user_id, 10).await, [login(2)]);
    assert_eq!(ended(storage, tenant_id, user_id, 20).await, []);
    assert_eq!(storage.users.get(tenant_id, user_id).await, Ok(Some(ada)));
    assert_eq!(logged(storage).await, [AccessChange::User { tenant_id, user_id }; 3]);
}

pub async fn ended_logins_of_one_user_are_not_those_of_another(storage: &Storage) {
    let ada = ada(storage).await;
    let bob = a_user(ada.tenant_id, "bob", Role::Viewer);
    storage.users.create(&bob, &hash("bob")).await.unwrap();
    storage.users.end_login(ada.tenant_id, ada.id, login(1), at(10), at(0)).await.unwrap();
    assert_eq!(ended(storage, ada.tenant_id, bob.id, 0).await, []);
    for stranger in [new_tenant_id(), tenant(storage, "other").await] {
        let refused = storage.users.end_login(stranger, bob.id, login(2), at(10), at(0)).await;
        assert_eq!(refused, Err(StorageError::NotFound));
        assert_eq!(storage.users.end_all_logins(stranger, bob.id).await, Err(StorageError::NotFound));
        assert_eq!(storage.users.standing(stranger, bob.id, at(0)).await, Ok(None));
    }
    let nobody = new_user_id();
    assert_eq!(storage.users.standing(ada.tenant_id, nobody, at(0)).await, Ok(None));
    assert!(storage.users.end_login(ada.tenant_id, nobody, login(3), at(10), at(0)).await.is_err());
}

pub async fn all_logins_of_a_user_end_together(storage: &Storage) {
    let ada = ada(storage).await;
    let (tenant_id, user_id) = (ada.tenant_id, ada.id);
    storage.users.end_login(tenant_id, user_id, login(1), at(10), at(0)).await.unwrap();
    let after = storage.users.end_all_logins(tenant_id, user_id).await.unwrap();
    assert_eq!(after.credential_version, ada.credential_version + 1);
    let standing = storage.users.standing(tenant_id, user_id, at(0)).await;
    assert_eq!(standing, Ok(Some(UserStanding { user: after, ended: vec![] })));
    assert_eq!(logged(storage).await, [AccessChange::User { tenant_id, user_id }; 2]);
}

pub async fn when_too_many_logins_were_ended_one_by_one_all_end(storage: &Storage) {
    let ada = ada(storage).await;
    let (tenant_id, user_id) = (ada.tenant_id, ada.id);
    for number in 0..MAX_ENDED_LOGINS {
        storage.users.end_login(tenant_id, user_id, login(number), at(10), at(0)).await.unwrap();
    }
    // One that is remembered already takes no room.
    storage.users.end_login(tenant_id, user_id, login(0), at(10), at(0)).await.unwrap();
    assert_eq!(ended(storage, tenant_id, user_id, 0).await.len(), MAX_ENDED_LOGINS);
    storage.users.end_login(tenant_id, user_id, login(MAX_ENDED_LOGINS), at(10), at(0)).await.unwrap();
    let standing = storage.users.standing(tenant_id, user_id, at(0)).await.unwrap().unwrap();
    assert_eq!((standing.user.credential_version, standing.ended), (ada.credential_version + 1, vec![]));
}

pub async fn logins_whose_tokens_are_over_make_room(storage: &Storage) {
    let ada = ada(storage).await;
    let (tenant_id, user_id) = (ada.tenant_id, ada.id);
    let later = at(10).plus(ENDED_LOGIN_MARGIN);
    for number in 0..MAX_ENDED_LOGINS {
        storage.users.end_login(tenant_id, user_id, login(number), at(10), at(0)).await.unwrap();
    }
    let next = login(MAX_ENDED_LOGINS);
    storage.users.end_login(tenant_id, user_id, next, later.plus(ENDED_LOGIN_MARGIN), later).await.unwrap();
    let standing = storage.users.standing(tenant_id, user_id, later).await.unwrap().unwrap();
    assert_eq!((standing.user.credential_version, standing.ended), (ada.credential_version, vec![next]));
}

pub async fn a_deleted_user_leaves_no_ended_logins(storage: &Storage) {
    let ada = ada(storage).await;
    storage.users.end_login(ada.tenant_id, ada.id, login(1), at(10), at(0)).await.unwrap();
    assert_eq!(storage.users.delete(ada.tenant_id, ada.id).await, Ok(true));
    assert_eq!(storage.users.standing(ada.tenant_id, ada.id, at(0)).await, Ok(None));
}
