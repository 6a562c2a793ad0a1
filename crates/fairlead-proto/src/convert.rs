//! Between generated messages and our words: `From` on the way out, `TryFrom` on the way in, where everything that
//! a reader needs is checked. Unknown fields of a newer release are not seen; unknown enum values are refused.

mod briefing;
mod common;
mod media;
mod operator;
mod provisioning;
mod registrar;
mod signaling;
mod surroundings;

pub use registrar::answered_from;

use fairlead_model::id::PodRef;

/// A message of the other side that cannot be read. The text names the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is missing or out of range")]
pub struct Unreadable(pub &'static str);

impl From<Unreadable> for tonic::Status {
    fn from(unreadable: Unreadable) -> Self {
        tonic::Status::invalid_argument(unreadable.to_string())
    }
}

/// A field that must be there.
pub(crate) fn needed<T>(field: Option<T>, name: &'static str) -> Result<T, Unreadable> {
    field.ok_or(Unreadable(name))
}

/// A number that fits a smaller type.
pub(crate) fn small<T: TryFrom<u32>>(field: u32, name: &'static str) -> Result<T, Unreadable> {
    T::try_from(field).map_err(|_| Unreadable(name))
}

/// An enum value that this release knows.
pub(crate) fn known<T: TryFrom<i32>>(field: i32, name: &'static str) -> Result<T, Unreadable> {
    T::try_from(field).map_err(|_| Unreadable(name))
}

/// A pod's name.
pub(crate) fn pod(field: u64) -> Result<PodRef, Unreadable> {
    if field > PodRef::MAX { Err(Unreadable("pod")) } else { Ok(PodRef(field)) }
}

/// All of a list, or the first error.
pub(crate) fn each<P, M>(list: Vec<P>) -> Result<Vec<M>, Unreadable>
where
    M: TryFrom<P, Error = Unreadable>,
{
    list.into_iter().map(M::try_from).collect()
}

/// Two enums with the same values; the first of the generated one is "unspecified" and never ours.
macro_rules! same_enum {
    ($pb:ty, $model:ty, $name:literal, { $($pv:ident = $mv:ident),+ $(,)? }) => {
        impl From<$model> for $pb {
            fn from(value: $model) -> Self {
                match value { $(<$model>::$mv => <$pb>::$pv),+ }
            }
        }

        impl TryFrom<$pb> for $model {
            type Error = $crate::convert::Unreadable;

            #[allow(unreachable_patterns)]
            fn try_from(value: $pb) -> Result<Self, $crate::convert::Unreadable> {
                match value {
                    $(<$pb>::$pv => Ok(<$model>::$mv),)+
                    _ => Err($crate::convert::Unreadable($name)),
                }
            }
        }
    };
}
pub(crate) use same_enum;
