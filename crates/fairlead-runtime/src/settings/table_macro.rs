//! The macro that describes settings.

/// Describes the settings of one part: makes the struct, its [`Table`](crate::settings::Table) and its reader.
///
/// A field is `T` (it has to be given, or has a default), `Option<T>` or `Vec<T>`, where `T` is a
/// [`SettingValue`](crate::settings::value::SettingValue). Its documentation is its help. A default is written as on the
/// command line: `= "10000-10099"`, for several `= ["udp:[::]:5060", "tcp:[::]:5060"]`.
#[macro_export]
macro_rules! settings {
    (
        $(#[doc = $about:literal])*
        $visible:vis struct $name:ident in $section:literal {
            $( $(#[doc = $help:literal])* $field:ident : $type:ty $(= $default:tt)? ),* $(,)?
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug)]
        $visible struct $name {
            $( $(#[doc = $help])* pub $field: $type ),*
        }

        impl $crate::settings::Settings for $name {
            const TABLE: $crate::settings::Table = $crate::settings::Table {
                section: $section,
                about: concat!($($about),*),
                settings: &[ $( $crate::__setting!($field, $type, concat!($($help),*), $($default)?) ),* ],
            };

            fn read(
                layers: &$crate::settings::Layers,
            ) -> Result<Self, $crate::settings::SettingErrors> {
                let mut errors = Vec::new();
                let mut settings = <Self as $crate::settings::Settings>::TABLE.settings.iter();
                $(
                    let $field = settings.next().and_then(|setting| {
                        $crate::settings::read_field::<$type>(layers, $section, setting, &mut errors)
                    });
                )*
                match ($($field,)*) {
                    ($(Some($field),)*) if errors.is_empty() => Ok($name { $($field),* }),
                    _ => Err($crate::settings::SettingErrors(errors)),
                }
            }
        }
    };
}

/// One row of a table; for [`settings!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __setting {
    ($field:ident, $type:ty, $help:expr, $($default:tt)?) => {
        $crate::settings::Setting {
            name: {
                const BYTES: [u8; stringify!($field).len()] = $crate::settings::dashed(stringify!($field));
                match std::str::from_utf8(&BYTES) {
                    Ok(text) => text,
                    Err(_) => stringify!($field),
                }
            },
            environment: {
                const RAW: &str = concat!("FAIRLEAD_", stringify!($field));
                const BYTES: [u8; RAW.len()] = $crate::settings::shouted(RAW);
                match std::str::from_utf8(&BYTES) {
                    Ok(text) => text,
                    Err(_) => RAW,
                }
            },
            help: $help,
            allowed: <$type as $crate::settings::value::Field>::ALLOWED,
            default: $crate::__setting_default!($($default)?),
            required: <$type as $crate::settings::value::Field>::REQUIRED
                && $crate::__setting_default!($($default)?).is_none(),
            repeated: <$type as $crate::settings::value::Field>::REPEATED,
            switch: <$type as $crate::settings::value::Field>::SWITCH,
            secret: <$type as $crate::settings::value::Field>::SECRET,
        }
    };
}

/// A default as a list of texts; for [`settings!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __setting_default {
    () => {
        None::<&'static [&'static str]>
    };
    ([$($text:literal),* $(,)?]) => {
        Some(&[$($text),*] as &'static [&'static str])
    };
    ($text:literal) => {
        Some(&[$text] as &'static [&'static str])
    };
}

/// `rtp_ports` as `rtp-ports`, at compile time.
#[doc(hidden)]
pub const fn dashed<const N: usize>(text: &str) -> [u8; N] {
    let (bytes, mut out, mut at) = (text.as_bytes(), [0; N], 0);
    while at < N {
        out[at] = if bytes[at] == b'_' { b'-' } else { bytes[at] };
        at += 1;
    }
    out
}

/// `rtp_ports` as `RTP_PORTS`, at compile time.
#[doc(hidden)]
pub const fn shouted<const N: usize>(text: &str) -> [u8; N] {
    let (bytes, mut out, mut at) = (text.as_bytes(), [0; N], 0);
    while at < N {
        out[at] = bytes[at].to_ascii_uppercase();
        at += 1;
    }
    out
}
