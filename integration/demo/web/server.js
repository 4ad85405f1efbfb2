// A small web service: answers with who it is, counts its visits, ends its open connections when asked to stop.
const http = require('node:http');

const port = Number(process.env.PORT || 18181);
let visits = 0;

const server = http.createServer((request, response) => {
  visits += 1;
  console.log(`${request.method} ${request.url}`);
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ app: 'web', node: process.version, pid: process.pid, visits }) + '\n');
});

server.listen(port, '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${port}`));

process.on('SIGTERM', () => {
  console.log('asked to stop');
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
