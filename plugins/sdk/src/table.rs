//! What a plugin says of itself: the tables that the server reads.

use crate::batch::{Batch, Near};
use crate::border;
use crate::call::Call;
use crate::failure::Failure;
use crate::raw::{ABI_MAJOR, ABI_MINOR, RawBehaviour, RawMethod, RawPlugin, RawSelfCheck, RawText};

/// What does a method's requests.
pub type MethodFunction = for<'c> fn(&mut Call<'c>) -> Result<(), Failure>;
/// What moves a behaviour's NPCs.
pub type BehaviourFunction = for<'b, 'n> fn(&mut Batch<'b>, &Near<'n>);

/// A method of a plugin.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Method(pub(crate) RawMethod);

/// The method of this name.
#[must_use]
pub const fn method(name: &'static str, function: MethodFunction) -> Method {
    Method(RawMethod {
        size: size_of::<RawMethod>() as u32,
        reserved: 0,
        name: RawText::of(name.as_bytes()),
        call: Some(border::run_method),
        data: border::method_data(function),
        priority: 0,
        attempts_max: 0,
        limit_ms: 0,
        deadline_ms: 0,
    })
}

/// How its tasks are treated where a worker does them; what is not said is as the server does by itself.
impl Method {
    /// 0 is first, 7 is last.
    #[must_use]
    pub const fn priority(mut self, priority: u32) -> Self {
        self.0.priority = priority.saturating_add(1);
        self
    }

    /// How often it is tried.
    #[must_use]
    pub const fn attempts_max(mut self, attempts_max: u32) -> Self {
        self.0.attempts_max = attempts_max;
        self
    }

    /// How long an attempt may take.
    #[must_use]
    pub const fn limit_ms(mut self, limit_ms: u64) -> Self {
        self.0.limit_ms = limit_ms;
        self
    }

    /// How long it waits for a worker.
    #[must_use]
    pub const fn deadline_ms(mut self, deadline_ms: u64) -> Self {
        self.0.deadline_ms = deadline_ms;
        self
    }
}

/// A behaviour of a plugin.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Behaviour(pub(crate) RawBehaviour);

/// The behaviour of this name: worlds name it in their field `npcs`.
#[must_use]
pub const fn behaviour(name: &'static str, function: BehaviourFunction) -> Behaviour {
    Behaviour(RawBehaviour {
        size: size_of::<RawBehaviour>() as u32,
        reserved: 0,
        name: RawText::of(name.as_bytes()),
        think: Some(border::run_behaviour),
        data: border::behaviour_data(function),
    })
}

/// A plugin, as the server reads it.
#[doc(hidden)]
#[repr(transparent)]
pub struct Plugin(RawPlugin);

impl Plugin {
    /// Of this name and version.
    #[must_use]
    pub const fn new(
        (name, version): (&'static str, &'static str),
        methods: &'static [Method],
        behaviours: &'static [Behaviour],
        self_check: RawSelfCheck,
    ) -> Self {
        Self(RawPlugin {
            size: size_of::<RawPlugin>() as u32,
            abi_major: ABI_MAJOR,
            abi_minor: ABI_MINOR,
            name: RawText::of(name.as_bytes()),
            version: RawText::of(version.as_bytes()),
            methods: methods.as_ptr().cast(),
            method_count: methods.len(),
            behaviours: behaviours.as_ptr().cast(),
            behaviour_count: behaviours.len(),
            self_check: Some(self_check),
        })
    }

    /// For the server.
    #[must_use]
    pub const fn as_raw(&'static self) -> *const RawPlugin {
        &raw const self.0
    }
}

/// Whether a plugin can do its work.
#[doc(hidden)]
pub trait SelfCheck {
    /// Before it gets any.
    ///
    /// # Errors
    /// It cannot.
    fn check() -> Result<(), Failure>;
}

/// Exports the plugin of this library, once in a library. Of the four parts behind the version each may be left
/// out; their order is this.
///
/// ```
/// use warren_plugin::{Batch, Call, Failure, Near, behaviour, method, plugin};
///
/// fn attack(call: &mut Call) -> Result<(), Failure> {
///     call.reply(&[])
/// }
///
/// fn stand(_batch: &mut Batch, _near: &Near) {}
///
/// plugin! {
///     name: "combat",
///     version: env!("CARGO_PKG_VERSION"),
///     methods: [method("combat.attack", attack).priority(2)],
///     behaviours: [behaviour("stone", stand)],
///     self_check: || Ok(()),
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! plugin {
    (
        name: $name:expr,
        version: $version:expr
        $(, methods: [$($method:expr),* $(,)?])?
        $(, behaviours: [$($behaviour:expr),* $(,)?])?
        $(, self_check: $check:expr)?
        $(,)?
    ) => {
        const _: () = {
            struct Checked;

            impl $crate::SelfCheck for Checked {
                fn check() -> ::core::result::Result<(), $crate::Failure> {
                    $(
                        let check: fn() -> ::core::result::Result<(), $crate::Failure> = $check;
                        check()?;
                    )?
                    Ok(())
                }
            }

            static METHODS: &[$crate::Method] = &[$($($method),*)?];
            static BEHAVIOURS: &[$crate::Behaviour] = &[$($($behaviour),*)?];
            static PLUGIN: $crate::Plugin = $crate::Plugin::new(
                ($name, $version),
                METHODS,
                BEHAVIOURS,
                $crate::border::check_itself::<Checked>,
            );

            #[unsafe(no_mangle)]
            extern "C" fn warren_plugin_entry(
                _host: *const $crate::raw::RawHost,
            ) -> *const $crate::raw::RawPlugin {
                // Where the first panic is the end, nobody else would tell of it.
                if cfg!(panic = "unwind") {
                    $crate::panics::keep_from_stderr();
                }
                PLUGIN.as_raw()
            }
        };
    };
}
