//! Responses about account security, snapshotted.

use base::ids::{JobId, UserId};
use base::secret::Secret;
use securevox::protocol::accounts::{ExportPending, RecoveryCodes, SecondFactorStatus, TotpSetup};
use securevox::protocol::admin::JobView;
use securevox::protocol::user_admin::{self, CreatedPasswordReset};

use crate::protocol::{NOON, id, shape};

#[test]
fn account_security_responses_match_snapshot() {
    let secret = |text: &str| Secret::new(text.to_owned());
    let shapes = vec![
        shape(
            "SecondFactor",
            SecondFactorStatus { enabled: true, since: Some(NOON), recovery_codes_left: 10 },
        ),
        shape("TotpSetup", TotpSetup { secret: secret("JBSW…"), url: secret("otpauth://totp/…") }),
        shape("RecoveryCodes", RecoveryCodes { recovery_codes: vec![secret("abcd-efgh-…")] }),
        shape("ExportState", ExportPending { state: "running", created_at: NOON }),
        shape(
            "Person",
            user_admin::UserAdminView {
                id: id!(UserId, 1),
                phone: "+4915112345678".to_owned(),
                name: "Alice".to_owned(),
                role: "user".to_owned(),
                created_at: NOON,
                suspended_at: Some(NOON),
                second_factor: true,
            },
        ),
        shape("ResetMade", CreatedPasswordReset { reset_token: secret("93eb…"), expires_at: NOON }),
        shape(
            "JobView",
            JobView {
                id: id!(JobId, 11),
                kind: "account.export".to_owned(),
                state: "waiting".to_owned(),
                attempts: 1,
                due_at: NOON,
                failure: Some("the disk is full".to_owned()),
                created_at: NOON,
                ended_at: None,
            },
        ),
    ];
    insta::assert_json_snapshot!(shapes);
}
