"""The teaching script that the pipeline grew out of, whole: from the import to the chart."""

import copy

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MinMaxScaler
from torch import nn

torch.manual_seed(42)
iris = load_iris()
X_train, X_test, y_train, y_test = train_test_split(
    iris.data, iris.target, test_size=0.2, random_state=42
)
scaler = MinMaxScaler()
X_train = torch.tensor(scaler.fit_transform(X_train), dtype=torch.float32)
X_test = torch.tensor(scaler.transform(X_test), dtype=torch.float32)
y_train, y_test = torch.tensor(y_train), torch.tensor(y_test)

model = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 3))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

best_loss, best_weights, looks_without_improvement = float("inf"), model.state_dict(), 0
epochs, train_losses, test_losses = [], [], []
for epoch in range(1, 20_001):
    model.train()
    optimizer.zero_grad()
    loss = criterion(model(X_train), y_train)
    loss.backward()
    optimizer.step()
    if epoch % 200 == 0:
        model.eval()
        with torch.no_grad():
            test_loss = criterion(model(X_test), y_test).item()
        epochs.append(epoch)
        train_losses.append(loss.item())
        test_losses.append(test_loss)
        if test_loss < best_loss:
            best_loss, looks_without_improvement = test_loss, 0
            best_weights = copy.deepcopy(model.state_dict())
        else:
            looks_without_improvement += 1
            if looks_without_improvement >= 50:
                break

model.load_state_dict(best_weights)
with torch.no_grad():
    accuracy = (model(X_test).argmax(dim=1) == y_test).float().mean().item()
print(f"test accuracy {accuracy:.3f}")
torch.save(model.state_dict(), "weights.pt")
plt.plot(epochs, train_losses, label="train")
plt.plot(epochs, test_losses, label="test")
plt.legend()
plt.savefig("loss.png")
