//! One flight a question: who asks what is being asked already joins, and who leaves cancels it for nobody.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// The questions under way.
pub struct Flights<K, V>(Arc<Mutex<HashMap<K, Landing<V>>>>);

type Landing<V> = watch::Receiver<Option<V>>;

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Returns the answer of the flight under way for `question`, or of `flight`, which is then started.
    ///
    /// `None` when the flight panicked.
    pub async fn join(&self, question: K, flight: impl Future<Output = V> + Send + 'static) -> Option<V> {
        let mut landing = self.start(question, flight);
        let answer = landing.wait_for(Option::is_some).await.ok()?;
        answer.clone()
    }

    /// Starts `flight` unless one is under way for `question`; nobody needs to wait for it.
    pub fn start(&self, question: K, flight: impl Future<Output = V> + Send + 'static) -> Landing<V> {
        let mut flights = lock(&self.0);
        if let Some(landing) = flights.get(&question) {
            return landing.clone();
        }
        let (land, landing) = watch::channel(None);
        flights.insert(question.clone(), landing.clone());
        let arrival = Arrival { flights: Arc::clone(&self.0), question };
        tokio::spawn(async move {
            let answer = flight.await;
            // First off the board, then the answer: who asks from now on asks anew.
            drop(arrival);
            land.send_replace(Some(answer));
        });
        landing
    }
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// Takes a flight off the board, also when it panicked.
struct Arrival<K: Eq + Hash, V> {
    flights: Arc<Mutex<HashMap<K, Landing<V>>>>,
    question: K,
}

impl<K: Eq + Hash, V> Drop for Arrival<K, V> {
    fn drop(&mut self) {
        lock(&self.flights).remove(&self.question);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn all_who_ask_get_the_answer_of_one_flight_even_if_the_first_leaves() {
        let flights = Arc::new(Flights::<&str, u32>::default());
        let (flown, go) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let ask = || {
            let (flights, flown, go) = (Arc::clone(&flights), Arc::clone(&flown), Arc::clone(&go));
            tokio::spawn(async move {
                let flight = async move {
                    go.notified().await;
                    flown.fetch_add(1, Ordering::Relaxed) + 1
                };
                flights.join("question", flight).await
            })
        };
        let askers: Vec<_> = (0..100).map(|_| ask()).collect();
        tokio::task::yield_now().await;
        askers[0].abort();
        go.notify_one();
        for asker in askers.into_iter().skip(1) {
            assert_eq!(asker.await.expect("not aborted"), Some(1));
        }
        go.notify_one();
        assert_eq!(ask().await.expect("not aborted"), Some(2), "a later question is asked anew");
    }

    #[tokio::test]
    async fn a_flight_that_panics_answers_nothing_and_blocks_nobody() {
        let flights = Flights::<(), u32>::default();
        assert_eq!(flights.join((), async { panic!("on purpose") }).await, None);
        assert_eq!(flights.join((), async { 7 }).await, Some(7));
    }
}
