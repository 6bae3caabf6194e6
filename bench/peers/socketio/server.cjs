// Everything that a client says is sent to everybody in its room, itself included. The room is in the query.
const { Server } = require("socket.io");

const server = new Server({ transports: ["websocket"], perMessageDeflate: false, serveClient: false });
server.on("connection", (socket) => {
  const room = socket.handshake.query.room;
  socket.join(room);
  socket.on("message", (text) => server.to(room).emit("message", text));
});
server.attach(require("node:http").createServer().listen(Number(process.env.PORT), "127.0.0.1"));
