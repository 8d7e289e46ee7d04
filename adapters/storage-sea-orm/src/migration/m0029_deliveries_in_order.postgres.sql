-- A message for thousands of sessions wrote to a page of this index for each of them. Who ends a session names its deliveries.
DROP INDEX IF EXISTS broker_deliveries_of_session;
