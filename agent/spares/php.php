<?php
// Keeps PHP waiting for its program: php opens its script, then runs this
// (auto_prepend_file), and reads the script when this is done. So its file must
// be there, an empty line, when php starts. PHP cannot close a descriptor that it was
// started with: 3 and 4 stay, at their end.
(static function () {
    file_put_contents('php://fd/4', 'R');
    $message = explode("\0", file_get_contents('php://fd/3'));
    array_pop($message);
    $arguments = array_splice($message, 1, (int)$message[0]);
    putenv('PADDOCK_SPARE');
    unset($_SERVER['PADDOCK_SPARE']);
    $at = array_search('PHP_SELF', array_keys($_SERVER));
    $environment = array_slice($_SERVER, 0, $at);
    foreach (array_slice($message, 1) as $entry) {
        putenv($entry);
        [$name, $value] = explode('=', $entry, 2);
        $environment[$name] = $value;
    }
    $_SERVER = $environment + array_slice($_SERVER, $at);
    array_push($GLOBALS['argv'], ...$arguments);
    $GLOBALS['argc'] = count($GLOBALS['argv']);
    $_SERVER['argv'] = $GLOBALS['argv'];
    $_SERVER['argc'] = $GLOBALS['argc'];
    $_SERVER['REQUEST_TIME_FLOAT'] = microtime(true);
    $_SERVER['REQUEST_TIME'] = (int)$_SERVER['REQUEST_TIME_FLOAT'];
})();
