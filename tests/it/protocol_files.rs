//! Files, as they cross the wire: snapshots, as in `protocol`.

use base::ids::{AttachmentId, UploadId};
use securevox::protocol::files::{UploadView, UploadedAttachment};

use crate::protocol::{NOON, attachment, id, shape};

#[test]
fn file_http_responses_match_snapshot() {
    let made = UploadedAttachment {
        attachment: attachment(),
        sha256: "00ff".to_owned(),
        expires_at: NOON,
    };
    let upload = UploadView {
        id: id!(UploadId, 10),
        offset: 7,
        size: 9,
        attachment_id: Some(id!(AttachmentId, 9)),
        expires_at: NOON,
    };

    insta::assert_json_snapshot!([shape("AttachmentMade", made), shape("Upload", upload)]);
}
