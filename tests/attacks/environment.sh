# tries: keys, addresses and credentials in the environment
# control: -e AWS_SECRET_ACCESS_KEY=x -e ECS_AGENT_URI=x -e PADDOCK_KEY=x
found=$(env | grep -E '^(AWS_|ECS_|PADDOCK_|EXECUTION_API_KEY|DATABASE_URL|REDIS_URL|DOCKER_)')
if [ -n "$found" ]; then
    echo "BROKEN: $found"
else
    echo HELD
fi
