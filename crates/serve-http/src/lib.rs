//! What an operator and a monitor ask a running Pejl over HTTP: health, metrics, tasks.
