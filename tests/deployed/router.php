<?php
// PHP's built-in server serves what is there; the servers' data files are as public as they are on the real ones.
return false;
