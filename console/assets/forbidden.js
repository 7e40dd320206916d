// The page for users who may not open the requested page.
import "./core.js";
