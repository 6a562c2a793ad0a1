//! Changes of bindings that no REGISTER asks for: planned on the record as it is, again when it has changed.

use std::sync::Arc;

use fairlead_model::binding::Binding;
use fairlead_model::id::{PodRef, UnixMillis};
use fairlead_model::peer::RuntimeColumns;
use fairlead_store::{Bind, BindOutcome, BindingsRecord, BoundRecord, Columns, Notice, Step, StoreError};

use crate::register::{ATTEMPTS, record_after};
use crate::registrar::Registrar;

/// What a change wants written.
pub struct Change {
    /// All bindings as they are then.
    pub bindings: Vec<Binding>,
    /// Columns of the row.
    pub columns: Columns,
    /// Others must hear of it.
    pub told: bool,
}

/// Columns for a row, with the name of the pod that `regserver` names by number.
pub fn row_columns(columns: &RuntimeColumns, name_of: impl Fn(PodRef) -> Option<String>) -> Columns {
    let mut row: Columns =
        columns.columns().into_iter().map(|(column, value)| (column.to_owned(), value)).collect();
    if let Some(server) = row.get_mut("regserver")
        && let Some(name) = server.parse().ok().and_then(name_of)
    {
        *server = name;
    }
    row
}

impl Registrar {
    /// Plans on the record of `name`, first as it was last seen (or as it is in the store), and binds. `None` from
    /// `plan` ends it: nothing is to be done. Returns whether something was.
    pub(crate) async fn change(
        &self,
        name: &str,
        fresh: bool,
        plan: impl Fn(&[Binding], UnixMillis) -> Option<Change>,
    ) -> Result<bool, StoreError> {
        let mut record = match (fresh, self.locations.get(name)) {
            (false, Some(record)) => record,
            _ => self.load(name).await?.bindings,
        };
        for _ in 0..ATTEMPTS {
            let now = self.clock.now();
            let Some(change) = plan(&record.bindings, now) else { return Ok(false) };
            let bind = Bind {
                name: name.to_owned(),
                planned_from: record.version,
                bindings: change.bindings.clone(),
                columns: if self.catalog.general().rt_update { change.columns } else { Columns::new() },
                nonce: None,
                key: None,
                now,
            };
            let told = change.told.then(|| Step::Publish(self.bound_notice(&bind, &record, false)));
            let mut steps = vec![Step::Bind(Box::new(bind))];
            steps.extend(told);
            let mut results = self.storage.store().run(steps).await.into_iter();
            match results.next().unwrap_or(Err(StoreError::Unexpected("no result")))?.bind()? {
                BindOutcome::Bound { version } => {
                    let after = record_after(&record, version, change.bindings, None);
                    self.seen(name, true, Arc::new(after));
                    if change.told {
                        self.followers.touch(name, false);
                    }
                    return Ok(true);
                }
                BindOutcome::Conflict(current) => {
                    self.metrics.replanned.inc();
                    record = self.newer(name, record, current).await?;
                }
                BindOutcome::NonceUsed => return Err(StoreError::Unexpected("no nonce was used")),
            }
        }
        Err(StoreError::Overloaded)
    }

    /// What other registrars are told of new bindings.
    pub(crate) fn bound_notice(&self, bind: &Bind, old: &BindingsRecord, quiet: bool) -> Notice {
        let version = bind.version();
        let record = self.storage.store().keeps_nonces().then(|| {
            let after = record_after(old, version, bind.bindings.clone(), bind.key);
            Box::new(BoundRecord::of(&after))
        });
        Notice::Bound { by: self.config.me.pod, name: bind.name.clone(), version, record, quiet }
    }

    /// The record of `name` as it is held, or none.
    pub(crate) fn held(&self, name: &str) -> Arc<BindingsRecord> {
        self.locations.get(name).unwrap_or_default()
    }
}
