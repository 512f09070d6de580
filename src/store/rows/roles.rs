//! Roles of members, and what a group allows each of them.

use super::text_enum::text_enum;

text_enum! {
    /// What a member may do in a conversation.
    MemberRole: "role in a conversation" {
        /// Everything; a group with members always has one owner.
        Owner = "owner",
        /// May rename the group, add members and remove plain members.
        Admin = "admin",
        /// May write and leave.
        Member = "member",
    }
}

text_enum! {
    /// Which members of a group have a right.
    Circle: "circle of members" {
        /// Its owner and admins.
        Admins = "admins",
        /// All its members.
        Members = "members",
    }
}

impl Circle {
    /// Whether members with this role have the right.
    pub fn admits(self, role: MemberRole) -> bool {
        self == Self::Members || role != MemberRole::Member
    }
}
