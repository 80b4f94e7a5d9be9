// The front end: one page, what the API says, and a WebSocket that echoes.
const http = require("http");
const { WebSocketServer } = require("ws");
const { title } = require("./title.json");

const server = http.createServer(async (request, response) => {
  try {
    const answer = await fetch(process.env.API_URL + (request.url === "/add" ? "/add" : "/"));
    const state = await answer.json();
    response.setHeader("Content-Type", "text/html; charset=utf-8");
    response.end(`<h1>${title}</h1><p>API ${state.version}, schema ${state.schema}, ${state.done} jobs done</p>\n`);
  } catch (error) {
    response.statusCode = 503;
    response.end(`the API does not answer: ${error.message}\n`);
  }
});

new WebSocketServer({ server, path: "/socket" }).on("connection", (socket) => {
  socket.send(`welcome to ${title}`);
  socket.on("message", (message) => socket.send(`echo: ${message}`));
});

process.on("SIGTERM", () => server.close(() => process.exit(0)));
server.listen(3000, () => console.log("front: listening on port 3000"));
