// Keeps Node.js waiting for its program. It is required (-r) before node resolves
// and opens its script, which it does when this is done. Its worker threads require
// it too, and have nothing to wait for.
'use strict';
if (process.env.PADDOCK_SPARE) {
  const fs = require('fs');
  const parts = [];
  const part = Buffer.allocUnsafeSlow(65536);

  // What most programs will need of node's own is loaded and compiled by now.
  require('net');
  require('tty');
  require('util').format('%s %o', 'a', { b: [1, 'c', new Map([[1, 2]])] });
  new (require('vm').Script)('(function (exports) {\n})');
  fs.realpathSync(__filename);

  fs.writeSync(4, 'R');
  fs.closeSync(4);
  for (let n; (n = fs.readSync(3, part)) > 0;) parts.push(Buffer.from(part.subarray(0, n)));
  fs.closeSync(3);
  const message = Buffer.concat(parts).toString().split('\0');
  const count = Number(message[0]);
  process.argv.push(...message.slice(1, 1 + count));
  delete process.env.PADDOCK_SPARE;
  for (const entry of message.slice(1 + count, -1)) {
    const at = entry.indexOf('=');
    process.env[entry.slice(0, at)] = entry.slice(at + 1);
  }
}
{
  process.execArgv.splice(process.execArgv.indexOf('-r'), 2);
  process._preload_modules.length = 0;
  delete require.cache[__filename];
  for (const key of Object.keys(module.constructor._pathCache))
    if (key.startsWith(__filename)) delete module.constructor._pathCache[key];
}
