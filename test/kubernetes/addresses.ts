/** Inside the cluster's network namespace; the same in every cluster, and on no interface of the machine. */

/** The service `kubernetes`, and where the API server itself listens: nobody has to translate the one into the other. */
export const API_SERVER = '10.96.0.1';
export const API_URL = `https://${API_SERVER}:443`;
export const SERVICE_RANGE = '10.96.0.0/16';
/** Nobody answers there, but without an address kubelet would send an event `MissingClusterDNS` for every pod. */
export const DNS_SERVER = '10.96.0.10';
export const NODE_A = { name: 'node-a', address: '10.95.0.1', pods: '10.97.0.0/24' } as const;
export const NODE_B = { name: 'node-b', address: '10.95.0.2', pods: '10.97.1.0/24' } as const;
