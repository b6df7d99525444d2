// A real OpenID provider for tests: npm's oidc-provider on a loopback port, with the login pages that it comes with.
//
// Anybody may log in under any name. On standard input: a line of JSON each, {"rotate": "keep" | "drop"} for another
// signing key, {"ttl": seconds} for the tokens to come, {"down": true | false}. On standard output: a line of JSON for
// the start and for each of these. It ends with its standard input.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { pathToFileURL } from 'node:url';

const { Provider } = await import(pathToFileURL(`${process.cwd()}/node_modules/oidc-provider/lib/index.js`).href);

let callback, down = false, ttl = 600;
const server = createServer((request, response) => (down ? request.socket.destroy() : callback(request, response)));
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;

const GROUPS = { ada: ['staff', 'geo'], eve: [], odd: 'staff', robot: ['robots'] };
const groups = (name) => (name in GROUPS ? GROUPS[name] : ['staff']);

function newKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomBytes(6).toString('hex'), use: 'sig', alg: 'RS256' };
}

let keys = [newKey()];
const cookieKeys = [randomBytes(16).toString('hex')];
const native = { application_type: 'native', redirect_uris: ['http://127.0.0.1/ui/login/callback', 'http://127.0.0.1/callback'] };
const grants = ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'];

function start() {
  const provider = new Provider(issuer, {
    jwks: { keys },
    cookies: { keys: cookieKeys },
    clients: [
      { client_id: 'aetherfs', token_endpoint_auth_method: 'none', grant_types: grants, ...native },
      { client_id: 'web', client_secret: 'a secret: %/+&', grant_types: grants, ...native },
      { client_id: 'other', token_endpoint_auth_method: 'none', grant_types: grants, ...native },
      {
        client_id: 'robot', client_secret: 'secret of the robot', grant_types: ['client_credentials'],
        redirect_uris: [], response_types: [],
      },
    ],
    claims: { openid: ['sub'], profile: ['groups', 'name'], email: ['email', 'email_verified'] },
    conformIdTokenClaims: false,
    findAccount: (context, id) => ({
      accountId: id,
      claims: () => ({ sub: id, name: id, groups: groups(id), email: `${id}@example.org`, email_verified: id !== 'eve' }),
    }),
    extraTokenClaims: (context, token) => ({ groups: groups(token.accountId ?? token.clientId) }),
    issueRefreshToken: () => true,
    pkce: { required: () => true, methods: ['S256'] },
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      revocation: { enabled: true },
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (context, resource) => ({
          scope: '', audience: resource, accessTokenFormat: 'jwt', accessTokenTTL: ttl, jwt: { sign: { alg: 'RS256' } },
        }),
        useGrantedResource: () => true,
      },
    },
    ttl: {
      AccessToken: () => ttl, IdToken: () => ttl, ClientCredentials: () => ttl, RefreshToken: 3600, Grant: 3600,
      Interaction: 600, Session: 3600, DeviceCode: 600,
    },
  });
  provider.on('server_error', (context, error) => console.error(error));
  callback = provider.callback();
}

start();
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
say({ issuer });
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  if (order.rotate) keys = order.rotate === 'keep' ? [newKey(), ...keys] : [newKey()];
  if (order.ttl) ttl = order.ttl;
  if ('down' in order) down = order.down;
  start();
  say({ keys: keys.map((key) => key.kid) });
}
process.exit(0);
