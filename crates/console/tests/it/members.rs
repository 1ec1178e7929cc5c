//! Members: who sees them, invitations whose link is shown once, roles, removal with what becomes of keys.

use http::StatusCode;
use keyward_core::ids::PersonId;
use keyward_core::record::Actor;
use keyward_core::role::Role;
use keyward_core::secret::{PassphraseKind, Secret};
use keyward_core::usage::ClientName;
use keyward_engine::context::Context;
use keyward_testkit::engine::{Kind, Permission, arrival, context, draft};
use keyward_testkit::on_both_databases;

use crate::support::{OWNER, PASSPHRASE, TestConsole, between};

async fn person(console: &TestConsole, email: &str) -> PersonId {
    let members = console.test.engine.list_members(&console.organization).await;
    let members = members.expect("members can be listed");
    let found = members.into_iter().find(|member| member.email == email);
    found.expect("they are a member").person_id
}

async fn role_of(console: &TestConsole, email: &str) -> Option<Role> {
    let members = console.test.engine.list_members(&console.organization).await;
    let members = members.expect("members can be listed");
    let found = members.into_iter().find(|member| member.email == email);
    found.map(|member| member.role)
}

async fn key_of(console: &TestConsole, person: &PersonId) -> (keyward_core::ids::KeyId, String) {
    let made_by = Context::new(Actor::Person(person.clone()), context().request_id);
    let created = console
        .test
        .engine
        .create_key(
            made_by,
            console.organization.clone(),
            draft(keyward_core::scope::ScopeSet::ALL, Permission::Full),
        )
        .await
        .expect("a key can be made");
    (created.key.record.id, created.value.reveal().to_owned())
}

async fn an_invitation_shows_its_link_once_and_the_link_makes_a_member(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    owner.page(&console.path("settings/members/invite")).await;
    let path = console.path("settings/members/invite");

    let unfit = [("email", "nobody"), ("role", "admin"), ("days", "30")];
    let answer = owner.post(&path, &unfit).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text.contains("value=\"nobody\""), "{}", answer.text);
    assert!(answer.text.contains("id=\"email-problem\""));
    assert!(answer.text.contains("<option value=\"30\" selected>"));

    let fields = [("email", "New.One@example.com"), ("role", "admin"), ("days", "3")];
    let answer = owner.post(&path, &fields).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert!(answer.text.contains("no mail is sent"));
    let secret = between(&answer.text, "http://localhost:8787/invitations/", "<").expect("there is a link");
    let members = owner.page(&console.path("settings/members")).await;
    assert!(members.contains("new.one@example.com") && !members.contains(secret));

    let secret = Secret::new(secret.to_owned());
    let passphrase = Secret::<PassphraseKind>::new(PASSPHRASE.to_owned());
    let accepted = console
        .test
        .engine
        .accept_invitation_anew(&arrival(), &ClientName::NONE, &secret, &passphrase)
        .await;
    accepted.expect("the link that was shown is the invitation's");
    assert_eq!(role_of(&console, "new.one@example.com").await, Some(Role::Admin));

    // Whoever belongs to it already is not invited again.
    let answer = owner.post(&path, &fields).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.text.contains("belongs to the organization already"));
}

async fn an_invitation_that_was_taken_back_opens_nothing(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    owner.page(&console.path("settings/members/invite")).await;
    let fields = [("email", "new@example.com"), ("role", "member"), ("days", "7")];
    let answer = owner
        .post(&console.path("settings/members/invite"), &fields)
        .await;
    let secret = between(&answer.text, "http://localhost:8787/invitations/", "<").expect("there is a link");
    let secret = Secret::new(secret.to_owned());
    let members = owner.page(&console.path("settings/members")).await;
    let revoke = between(&members, "members/invitations/", "\"").expect("it can be taken back");
    let revoke = console.path(&format!("settings/members/invitations/{revoke}"));
    let answer = owner.post(&revoke, &[]).await;
    assert_eq!(answer.location(), console.path("settings/members?done=revoked"));
    let passphrase = Secret::<PassphraseKind>::new(PASSPHRASE.to_owned());
    let accepted = console
        .test
        .engine
        .accept_invitation_anew(&arrival(), &ClientName::NONE, &secret, &passphrase)
        .await;
    assert!(accepted.is_err());
}

async fn roles_change_and_one_owner_always_remains(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let mut admin = console.member("admin@example.com", Role::Admin).await;
    let (own, other) = (
        person(&console, OWNER).await,
        person(&console, "admin@example.com").await,
    );
    let path = |person: &PersonId| console.path(&format!("settings/members/{person}/role"));

    owner.page(&path(&own)).await;
    let answer = owner.post(&path(&own), &[("role", "admin")]).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.text.contains("last Owner"), "{}", answer.text);
    assert_eq!(role_of(&console, OWNER).await, Some(Role::Owner));

    // An Admin makes no Owner and changes none, and is told so.
    admin.page(&console.path("settings/members")).await;
    for (whom, role) in [(&other, "owner"), (&own, "member")] {
        let answer = admin.post(&path(whom), &[("role", role)]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert!(answer.text.contains("only an Owner may make somebody an Owner"));
    }
    assert_eq!(role_of(&console, "admin@example.com").await, Some(Role::Admin));

    let answer = owner.post(&path(&other), &[("role", "member")]).await;
    assert_eq!(answer.location(), console.path("settings/members?done=role"));
    assert_eq!(role_of(&console, "admin@example.com").await, Some(Role::Member));
    // It holds for the session that is there.
    let gone = admin.get(&console.path("settings/members")).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    let answer = owner.post(&path(&other), &[]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
}

async fn who_is_removed_leaves_keys_to_be_decided_about(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let mut admin = console.member("admin@example.com", Role::Admin).await;
    let (own, other) = (
        person(&console, OWNER).await,
        person(&console, "admin@example.com").await,
    );
    let (id, value) = key_of(&console, &other).await;
    let path = console.path(&format!("settings/members/{other}/remove"));

    let page = owner.page(&path).await;
    assert!(page.contains(&format!("settings/secret-keys/{id}")), "{page}");
    let answer = owner.post(&path, &[]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text.contains("Choose what becomes of the keys"));
    let answer = owner.post(&path, &[("keys", "hand-over"), ("to", "")]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        answer.text.contains("value=\"hand-over\" checked"),
        "{}",
        answer.text
    );
    assert_eq!(role_of(&console, "admin@example.com").await, Some(Role::Admin));

    let chosen = [("keys", "hand-over"), ("to", own.as_str())];
    let answer = owner.post(&path, &chosen).await;
    assert_eq!(
        answer.location(),
        console.path("settings/members?done=removed-handed-over")
    );
    assert_eq!(role_of(&console, "admin@example.com").await, None);
    let key = console.test.engine.show_key(&console.organization, id).await;
    assert_eq!(key.expect("the key is there").responsible, Some(own));
    console.test.verify(&value).await.expect("its callers go on");
    let gone = admin.get(&console.path("settings/general")).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
}

async fn keys_of_who_is_removed_can_end(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    drop(console.member("admin@example.com", Role::Admin).await);
    let other = person(&console, "admin@example.com").await;
    let (_, value) = key_of(&console, &other).await;
    let path = console.path(&format!("settings/members/{other}/remove"));
    owner.page(&path).await;
    let answer = owner.post(&path, &[("keys", "end")]).await;
    assert_eq!(
        answer.location(),
        console.path("settings/members?done=removed-ended")
    );
    assert!(console.test.verify(&value).await.is_err());
}

async fn members_leave_and_the_last_owner_does_not(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    let mut member = console.member("member@example.com", Role::Member).await;
    let path = console.path("settings/general/leave");
    owner.page(&path).await;
    let answer = owner.post(&path, &[]).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.text.contains("last Owner"));
    member.page(&path).await;
    assert_eq!(member.post(&path, &[]).await.location(), "/organizations");
    assert_eq!(role_of(&console, "member@example.com").await, None);
}

async fn the_table_says_who_made_how_many_keys_and_escapes_addresses(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut owner = console.owner().await;
    drop(
        console
            .member("\"<script>alert(1)</script>\"@example.com", Role::Admin)
            .await,
    );
    let own = person(&console, OWNER).await;
    key_of(&console, &own).await;
    key_of(&console, &own).await;
    let page = owner.page(&console.path("settings/members")).await;
    assert!(!page.contains("<script>alert"), "{page}");
    assert!(page.contains("script&#62;alert(1)"), "{page}");
    let link = format!("settings/secret-keys?creator=person%2F{own}\">2 keys</a>");
    assert!(page.contains(&link), "{page}");
}

async fn a_member_finds_none_of_it(kind: Kind) {
    let console = TestConsole::new(kind).await;
    let mut member = console.member("member@example.com", Role::Member).await;
    member.page(&console.path("settings/general")).await;
    let own = person(&console, "member@example.com").await;
    for path in [
        "settings/members".to_owned(),
        "settings/members/invite".to_owned(),
        format!("settings/members/{own}/role"),
        format!("settings/members/{own}/remove"),
    ] {
        let answer = member.get(&console.path(&path)).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    for path in [
        "settings/members/invite".to_owned(),
        format!("settings/members/{own}/role"),
        format!("settings/members/{own}/remove"),
        "settings/members/invitations/none/revoke".to_owned(),
    ] {
        let answer = member.post(&console.path(&path), &[("role", "owner")]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(role_of(&console, "member@example.com").await, Some(Role::Member));
}

on_both_databases!(
    an_invitation_shows_its_link_once_and_the_link_makes_a_member,
    an_invitation_that_was_taken_back_opens_nothing,
    roles_change_and_one_owner_always_remains,
    who_is_removed_leaves_keys_to_be_decided_about,
    keys_of_who_is_removed_can_end,
    members_leave_and_the_last_owner_does_not,
    the_table_says_who_made_how_many_keys_and_escapes_addresses,
    a_member_finds_none_of_it,
);
