//! A locked slot's certificate for everyone, and a voter's proof for that voter alone.

use crate::server::{Answer, TestServer, until};
use plaudit::merkle::{Certificate, Proof};
use serde_json::json;

const CERTIFICATE: &str = "/api/seasons/s/slots/1/certificate";

fn proof_of(clip: &str) -> String {
    format!("/api/seasons/s/slots/1/proof?clipId={clip}")
}

/// Locks the slot, and waits until its certificate is there.
async fn locked(server: &TestServer) -> Answer {
    server.admin("POST", "/api/admin/seasons/s/slots/1/lock", json!({})).await.is(200);
    until("the certificate", async || {
        let answer = server.get(CERTIFICATE).await;
        // Until then it is on its way, and nothing is wrong with the slot's state.
        if answer.status != 200 {
            answer.refuses(503, "NOT_READY");
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
        answer.status == 200
    })
    .await;
    server.get(CERTIFICATE).await
}

#[tokio::test]
async fn everyone_reads_the_certificate_once_the_slot_is_locked() {
    let server = TestServer::staged(2).await;
    for sub in ["ada", "bob", "cyd"] {
        server.vote(sub, "c1").await.is(200);
    }
    server.vote("ada", "c0").await.is(200);
    server.retract("bob", "c1").await.is(200);
    assert_eq!(server.get(CERTIFICATE).await.refuses(409, "WRONG_STATE")["state"], "voting");
    server.admin("POST", "/api/admin/seasons/s/slots/1/freeze", json!({})).await.is(200);
    assert_eq!(server.get(CERTIFICATE).await.refuses(409, "WRONG_STATE")["state"], "frozen");
    server.get("/api/seasons/s/slots/2/certificate").await.refuses(404, "SLOT_NOT_FOUND");
    server.get("/api/seasons/t/slots/1/certificate").await.refuses(404, "NOT_FOUND");
    let answer = locked(&server).await;
    let body = answer.is(200);
    let counts = json!([
        {"clipId": "c0", "voteCount": 1, "weightedScore": 1}, {"clipId": "c1", "voteCount": 2, "weightedScore": 2}
    ]);
    assert_eq!((&body["clips"], &body["leaves"], &body["winnerClipId"]), (&counts, &json!(3), &json!("c1")));
    let certificate: Certificate = serde_json::from_value(body).unwrap();
    assert_eq!(certificate.contradictions(), Vec::<String>::new());
    assert_eq!((answer.header("cache-control"), answer.header("set-cookie")), (Some("no-cache"), None));
    let etag = answer.header("etag").unwrap();
    let again = server.call("GET", CERTIFICATE).header("if-none-match", etag).send().await;
    assert_eq!((again.status.as_u16(), again.header("etag")), (304, Some(etag)));
}

#[tokio::test]
async fn a_voter_proves_their_own_ballot_and_no_other() {
    let server = TestServer::staged(2).await;
    for sub in ["ada", "bob", "cyd"] {
        server.vote(sub, "c1").await.is(200);
    }
    let device = server.call("POST", "/api/vote").json(json!({"clipId": "c0"})).send().await;
    device.is(200);
    let cookie = device.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let path = proof_of("c1");
    server.call("GET", &path).user("ada").send().await.refuses(409, "WRONG_STATE");
    let certificate: Certificate = serde_json::from_value(locked(&server).await.is(200)).unwrap();

    let answer = server.call("GET", &path).user("ada").send().await;
    let proof: Proof = serde_json::from_value(answer.is(200)).unwrap();
    assert!(proof.holds() && (proof.root.0, proof.size) == (certificate.root, certificate.leaves));
    assert_eq!((answer.header("cache-control"), answer.header("set-cookie")), (Some("private, no-store"), None));
    let bobs: Proof = serde_json::from_value(server.call("GET", &path).user("bob").send().await.is(200)).unwrap();
    assert_ne!((bobs.index, &bobs.leaf.c), (proof.index, &proof.leaf.c));

    server.call("GET", &path).user("dan").send().await.refuses(404, "NOT_VOTED");
    server.call("GET", &proof_of("c0")).user("ada").send().await.refuses(404, "NOT_VOTED");
    server.call("GET", &proof_of("zz")).user("ada").send().await.refuses(404, "CLIP_NOT_FOUND");
    server.call("GET", "/api/seasons/s/slots/1/proof").user("ada").send().await.refuses(400, "INVALID_PARAMETER");
    // A device by its cookie; by nothing but its address it is nobody.
    let own = server.call("GET", &proof_of("c0")).header("cookie", &cookie).send().await;
    assert!(serde_json::from_value::<Proof>(own.is(200)).unwrap().holds());
    server.get(&proof_of("c0")).await.refuses(401, "UNAUTHORIZED");
    server.call("GET", &path).header("authorization", "Bearer a.b.c").send().await.refuses(401, "INVALID_TOKEN");
}
