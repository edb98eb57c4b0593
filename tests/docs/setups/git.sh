# A git repository with one commit, and a remote that takes pushes.
git init -q -b main
git init -q --bare ../remote.git
git remote add origin ../remote.git
touch README
git add README
git commit -q -m 'the first'
git push -q -u origin main
git commit -q --allow-empty -m 'the second'
