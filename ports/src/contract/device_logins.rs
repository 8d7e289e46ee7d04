//! Cases of [`DeviceLoginRepository`](crate::DeviceLoginRepository).
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use pocket_domain::{
    Device, DeviceFilter, DeviceId, DeviceLoginId, DeviceName, DeviceUpdate, DeviceUsername, PageRequest, PasswordHash,
    TenantId, TokenHash,
};

use super::fixture::{at, device, logged, new_device_id, tenant};
use crate::{AccessChange, Conflict, DeviceLoginImport, ImportedDevice, NewDeviceLogin, Storage, StorageError};

fn username(text: &str) -> DeviceUsername {
    DeviceUsername::parse(text).unwrap()
}

fn login(name: &str, now: u64) -> NewDeviceLogin {
    NewDeviceLogin {
        id: DeviceLoginId::from_uuid(new_device_id().as_uuid()),
        username: username(name),
        hash: PasswordHash::from_phc(format!("$argon2id${name}{now}")),
        now: at(now),
    }
}

async fn set(storage: &Storage, tenant: TenantId, device: DeviceId, name: &str, now: u64) -> NewDeviceLogin {
    let login = login(name, now);
    storage.device_logins.set(tenant, device, &login).await.unwrap();
    login
}

async fn found(storage: &Storage, name: &str) -> Vec<DeviceLoginId> {
    storage.device_logins.find(&username(name), 8).await.unwrap().into_iter().map(|login| login.id).collect()
}

async fn shown(storage: &Storage, tenant: TenantId, device: DeviceId) -> Option<DeviceUsername> {
    storage.devices.get(tenant, device).await.unwrap().unwrap().username
}

pub async fn a_login_is_found_by_its_user_name_and_by_its_device(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    assert_eq!(storage.device_logins.get(acme, boiler).await.unwrap(), None);
    let new = set(storage, acme, boiler, "Küche 1", 5).await;
    let read = storage.device_logins.get(acme, boiler).await.unwrap().unwrap();
    assert_eq!((read.id, &read.hash), (new.id, &new.hash));
    let credential = &read.credential;
    assert_eq!((credential.tenant_id, credential.device_id, credential.expires_at), (acme, boiler, None));
    assert!(credential.enabled && !credential.is_ruled);
    assert_eq!(storage.device_logins.find(&username("Küche 1"), 8).await.unwrap(), [read]);
    assert_eq!(found(storage, "küche 1").await, []);
    assert_eq!(shown(storage, acme, boiler).await, Some(username("Küche 1")));
    let update = DeviceUpdate { enabled: Some(false), ..DeviceUpdate::default() };
    let updated = storage.devices.update(acme, boiler, update, at(6)).await.unwrap();
    assert_eq!(updated.username, Some(username("Küche 1")));
    assert!(!storage.device_logins.get(acme, boiler).await.unwrap().unwrap().credential.enabled);
}

pub async fn a_new_login_replaces_the_one_before(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    set(storage, acme, boiler, "one", 5).await;
    let second = set(storage, acme, boiler, "two", 6).await;
    assert_eq!((found(storage, "one").await, found(storage, "two").await), (vec![], vec![second.id]));
    let third = set(storage, acme, boiler, "two", 7).await;
    assert_eq!(found(storage, "two").await, [third.id]);
    assert_eq!(shown(storage, acme, boiler).await, Some(username("two")));
}

pub async fn a_taken_user_name_is_a_conflict_in_its_tenant_only(storage: &Storage) {
    let (acme, umbrella) = (tenant(storage, "acme").await, tenant(storage, "umbrella").await);
    let (boiler, pump) = (device(storage, acme, "boiler").await, device(storage, acme, "pump").await);
    let theirs = device(storage, umbrella, "boiler").await;
    let first = set(storage, acme, boiler, "mqtt", 5).await;
    let kept = set(storage, acme, pump, "pump", 6).await;
    let taken = storage.device_logins.set(acme, pump, &login("mqtt", 7)).await;
    assert_eq!(taken, Err(StorageError::Conflict(Conflict::DeviceUsername)));
    assert_eq!(found(storage, "pump").await, [kept.id], "a refused change leaves what there was");
    let second = set(storage, umbrella, theirs, "mqtt", 8).await;
    assert_eq!(found(storage, "mqtt").await, [first.id, second.id]);
    assert_eq!(storage.device_logins.find(&username("mqtt"), 1).await.unwrap().len(), 1);
}

pub async fn logins_of_another_tenant_are_out_of_reach(storage: &Storage) {
    let (acme, umbrella) = (tenant(storage, "acme").await, tenant(storage, "umbrella").await);
    let boiler = device(storage, acme, "boiler").await;
    let kept = set(storage, acme, boiler, "mqtt", 5).await;
    assert_eq!(storage.device_logins.get(umbrella, boiler).await.unwrap(), None);
    let logins = &storage.device_logins;
    assert_eq!(logins.set(umbrella, boiler, &login("other", 6)).await, Err(StorageError::NotFound));
    assert_eq!(logins.remove(umbrella, boiler, at(6)).await, Err(StorageError::NotFound));
    assert_eq!(logins.set(acme, new_device_id(), &login("other", 6)).await, Err(StorageError::NotFound));
    assert_eq!(found(storage, "mqtt").await, [kept.id]);
}

pub async fn a_new_login_and_a_removed_one_are_logged(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    let before = logged(storage).await.len();
    set(storage, acme, boiler, "mqtt", 5).await;
    assert_eq!(storage.device_logins.remove(acme, boiler, at(6)).await, Ok(true));
    assert_eq!(storage.device_logins.remove(acme, boiler, at(7)).await, Ok(false));
    let change = AccessChange::Device { tenant_id: acme, device_id: boiler };
    assert_eq!(logged(storage).await[before..], [change, change]);
    assert_eq!((found(storage, "mqtt").await, shown(storage, acme, boiler).await), (vec![], None));
}

pub async fn a_login_goes_with_its_device_and_its_tenant(storage: &Storage) {
    let (acme, umbrella) = (tenant(storage, "acme").await, tenant(storage, "umbrella").await);
    let (boiler, theirs) = (device(storage, acme, "boiler").await, device(storage, umbrella, "boiler").await);
    set(storage, acme, boiler, "mqtt", 5).await;
    set(storage, umbrella, theirs, "mqtt", 6).await;
    storage.devices.delete(acme, boiler).await.unwrap();
    assert_eq!(found(storage, "mqtt").await.len(), 1);
    assert_eq!(storage.device_logins.get(acme, boiler).await.unwrap(), None);
    storage.tenants.delete(umbrella).await.unwrap();
    assert_eq!(found(storage, "mqtt").await, []);
    let next = device(storage, acme, "pump").await;
    set(storage, acme, next, "mqtt", 7).await;
}

fn new_device(tenant: TenantId, name: &str) -> ImportedDevice {
    let device = Device::new(new_device_id(), tenant, DeviceName::parse(name).unwrap(), at(5));
    let mut token = [0; 32];
    token[..16].copy_from_slice(device.id.as_uuid().as_bytes());
    ImportedDevice::New(Box::new(device), TokenHash::from_bytes(token))
}

fn import(device: ImportedDevice, name: &str, now: u64) -> DeviceLoginImport {
    DeviceLoginImport { device, login: login(name, now) }
}

async fn names(storage: &Storage, tenant: TenantId) -> Vec<String> {
    let page = storage.devices.list(tenant, &DeviceFilter::default(), PageRequest::default()).await.unwrap();
    page.items.iter().map(|device| device.name.to_string()).collect()
}

pub async fn imported_logins_come_with_new_devices_and_to_those_that_are_there(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    set(storage, acme, boiler, "old", 5).await;
    let before = logged(storage).await.len();
    let imports = [
        import(new_device(acme, "pump"), "pump", 6),
        import(ImportedDevice::Present(boiler), "boiler", 6),
        import(new_device(acme, "küche"), "küche", 6),
    ];
    storage.device_logins.import(acme, &imports).await.unwrap();
    for import in &imports {
        assert_eq!(found(storage, import.login.username.as_str()).await, [import.login.id]);
    }
    assert_eq!(found(storage, "old").await, []);
    assert_eq!(names(storage, acme).await, ["boiler", "pump", "küche"]);
    let ImportedDevice::New(pump, token) = &imports[0].device else { unreachable!() };
    assert_eq!(storage.devices.credential(*token).await.unwrap().unwrap().device_id, pump.id);
    assert_eq!(shown(storage, acme, pump.id).await, Some(username("pump")));
    let logged = logged(storage).await;
    assert!(logged[before..].contains(&AccessChange::Device { tenant_id: acme, device_id: boiler }));
}

pub async fn of_an_import_that_is_refused_nothing_stays(storage: &Storage) {
    let (acme, umbrella) = (tenant(storage, "acme").await, tenant(storage, "umbrella").await);
    let (boiler, lamp) = (device(storage, acme, "boiler").await, device(storage, acme, "lamp").await);
    let theirs = device(storage, umbrella, "theirs").await;
    let kept = set(storage, acme, boiler, "mqtt", 5).await;
    set(storage, acme, lamp, "taken", 5).await;
    for (wrong, error) in [
        (import(new_device(acme, "lamp"), "other", 6), StorageError::Conflict(Conflict::DeviceName)),
        (import(new_device(acme, "other"), "taken", 6), StorageError::Conflict(Conflict::DeviceUsername)),
        (import(ImportedDevice::Present(theirs), "other", 6), StorageError::NotFound),
    ] {
        let imports =
            [import(new_device(acme, "pump"), "pump", 6), import(ImportedDevice::Present(boiler), "second", 6), wrong];
        assert_eq!(storage.device_logins.import(acme, &imports).await, Err(error));
        assert_eq!(names(storage, acme).await, ["boiler", "lamp"]);
        assert_eq!((found(storage, "pump").await, found(storage, "mqtt").await), (vec![], vec![kept.id]));
    }
}

pub async fn a_hash_is_replaced_while_it_is_the_one_that_was_read(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let boiler = device(storage, acme, "boiler").await;
    set(storage, acme, boiler, "mqtt", 5).await;
    let read = storage.device_logins.get(acme, boiler).await.unwrap().unwrap();
    let before = logged(storage).await.len();
    let better = PasswordHash::from_phc("$argon2id$better".into());
    assert_eq!(storage.device_logins.replace_hash(&read, &better).await, Ok(true));
    let replaced = storage.device_logins.get(acme, boiler).await.unwrap().unwrap();
    assert_eq!((replaced.id, &replaced.hash), (read.id, &better));
    assert_eq!(storage.device_logins.replace_hash(&read, &read.hash).await, Ok(false), "it is another by now");
    assert_eq!(logged(storage).await.len(), before, "connections stay");
    set(storage, acme, boiler, "mqtt", 6).await;
    assert_eq!(storage.device_logins.replace_hash(&replaced, &read.hash).await, Ok(false), "it is another log-in");
}
