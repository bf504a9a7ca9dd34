export { Client, connect } from "./client.js";
export { WarrenError } from "./error.js";
