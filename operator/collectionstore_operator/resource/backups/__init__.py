"""The resources CollectionStoreBackup and CollectionStoreBackupSchedule: fields, bounds, rules and names. Pure."""
