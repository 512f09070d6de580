//! What people do in a room, and what they see of each other.

use super::*;
use crate::srtp::Profile;

#[test]
fn two_people_see_and_hear_each_other() {
    let mut trial = Trial::new(Settings::default());
    let anna = trial.connect(&[microphone(), camera()]);
    let (voice, picture) =
        (trial.track(anna, Source::Microphone), trial.track(anna, Source::Camera));
    let boris = trial.connect(&[
        Line::new("0", Kind::Audio).receiving(voice),
        Line::new("1", Kind::Video).receiving(picture),
    ]);
    trial.film(anna, "cam", 10);
    for _ in 0..10 {
        trial.clients[anna].send_sound("mic", 20);
        trial.run(ms(20));
    }

    let of = |mid: &str| trial.clients[boris].received.iter().filter(|it| it.mid == mid).count();
    assert_eq!((of("0"), of("1")), (10, 10), "{:?}", trial.room.counters());
    assert_eq!(trial.clients[boris].received[10].level, Some(20));
    assert_eq!(trial.clients[boris].profile(), Profile::AeadAes128Gcm);
    assert!(trial.events.iter().any(|event| matches!(event, Event::FirstMedia(Participant(1), _))));
}
