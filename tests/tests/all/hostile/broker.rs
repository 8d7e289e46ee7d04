//! What clients do with MQTT packets: weight of what is kept, work of matching, quotas.
