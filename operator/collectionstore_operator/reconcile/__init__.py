"""The reconcile loop and the adapters that both runtimes share: node client, node calls, PKI."""
