/**
 * Modules of Node.js that most configurations never use, loaded at the first call. All sinks are imported for their
 * options; with these imported at the top of their files that cost 9 MB of anonymous memory and 50 ms (measured).
 * `import` would also evaluate every export of node:http, and so load undici: 7 MB instead of 0.5.
 */
export const http = () => process.getBuiltinModule('node:http');
export const https = () => process.getBuiltinModule('node:https');
export const tls = () => process.getBuiltinModule('node:tls');
export const net = () => process.getBuiltinModule('node:net');
export const dgram = () => process.getBuiltinModule('node:dgram');
export const dns = () => process.getBuiltinModule('node:dns');
export const crypto = () => process.getBuiltinModule('node:crypto');
